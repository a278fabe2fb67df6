import EdgeViTCore
import Foundation

/// A small bundle in memory: 3 classes, 4 x 4 pixels, two golden examples. Each test spoils one thing in it.
final class MadeBundle: Files {
    var content: [String: [UInt8]] = [
        "model.onnx": [1, 2, 3],
        "labels.txt": Array("cat\ndog\nhorse\n".utf8),
        "golden/input.f32": littleEndian((0..<96).map { Float($0) / 96 }),
        "golden/output.f32": littleEndian([1, 2, 3, -4, 5, -6]),
    ]
    private var manifest: Any = MadeBundle.parsed(MadeBundle.manifest)
    private var raw: [String] = []
    private var recorded = false

    /// Records the files as they are now; an attacker could do that too.
    func record() {
        recorded = true
        let files = content.sorted { $0.key < $1.key }.map { path, bytes in
            "{\"path\": \"\(path)\", \"sha256\": \"\(sha256(bytes))\", \"bytes\": \(bytes.count)}"
        }
        manifest = put(["files"], Self.parsed("[\(files.joined(separator: ", "))]"), in: manifest)
    }

    /// Replaces the value at a path such as `golden.outputs.0.shape` by any text, which need not be JSON.
    func put(_ path: String, _ json: String) {
        raw.append(json)
        manifest = put(path.split(separator: ".").map(String.init), "<raw \(raw.count - 1)>", in: manifest)
    }

    /// Records the first file a second time.
    func repeatFile() {
        let files = (manifest as? [String: Any])?["files"] as? [Any] ?? []
        manifest = put(["files"], files + files.prefix(1), in: manifest)
    }

    func open(_ path: String) throws -> (Int) throws -> Data {
        var rest = try path == "manifest.json" ? document() : Data(content[path] ?? [])
        if path != "manifest.json", content[path] == nil { throw CocoaError(.fileReadNoSuchFile) }
        return { atMost in
            let piece = Data(rest.prefix(atMost))
            rest = Data(rest.dropFirst(atMost))
            return piece
        }
    }

    func opened() throws -> CheckedBundle {
        if !recorded { record() }
        return try CheckedBundle(self, target: "onnx")
    }

    /// Writes the bundle into a folder.
    func write(_ folder: URL) throws {
        record()
        for (path, bytes) in content.merging(["manifest.json": Array(try document())], uniquingKeysWith: { $1 }) {
            let file = folder.appendingPathComponent(path)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: file)
        }
    }

    private func document() throws -> Data {
        var text = String(decoding: try JSONSerialization.data(withJSONObject: manifest), as: UTF8.self)
        for (place, json) in raw.enumerated() { text = text.replacingOccurrences(of: "\"<raw \(place)>\"", with: json) }
        return Data(text.utf8)
    }

    private func put(_ path: [String], _ value: Any, in place: Any) -> Any {
        guard let name = path.first else { return value }
        let rest = Array(path.dropFirst())
        if var list = place as? [Any], let number = Int(name) {
            list[number] = put(rest, value, in: list[number])
            return list
        }
        var object = place as? [String: Any] ?? [:]
        object[name] = put(rest, value, in: object[name] ?? [String: Any]())
        return object
    }

    private static func parsed(_ text: String) -> Any {
        do {
            return try JSONSerialization.jsonObject(with: Data(text.utf8))
        } catch {
            fatalError("the test's own manifest is no JSON: \(error)")
        }
    }

    private static let manifest = """
        {
            "schema_version": 2, "target": "onnx", "precision": "fp32", "path": "model.onnx",
            "model": {"image_size": [4, 4]},
            "inputs": [{"name": "input", "shape": [1, 3, 4, 4], "dtype": "float32"}],
            "outputs": [{"name": "logits", "shape": [1, 3], "dtype": "float32"}],
            "preprocess": {"resize": [5, 5], "crop": [4, 4], "fit": "cover", "interpolation": "bicubic", "color_order": "RGB",
                "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1.0], "value_range": [0.0, 1.0]},
            "labels": {"path": "labels.txt", "count": 3, "placeholders": false},
            "golden": {"input": {"name": "input", "path": "golden/input.f32", "shape": [2, 3, 4, 4]},
                "outputs": [{"name": "logits", "path": "golden/output.f32", "shape": [2, 3]}], "probes": ["natural", "noise"]},
            "conversion": {"takes": "tensor", "returns": "logits"},
            "parity": {"status": "passed", "diffs": [
                {"output": "logits", "image_size": [8, 8], "max_abs": 0.5, "tolerance": {"atol": 1.0}},
                {"output": "logits", "image_size": [4, 4], "max_abs": 0.0001,
                 "tolerance": {"atol": 0.0005, "measure": "largest"}},
                {"output": "logits", "image_size": [4, 4], "max_abs": 0.001, "tolerance": {"atol": 0.5, "measure": "largest"}}]},
            "decisions": null
        }
        """
}
