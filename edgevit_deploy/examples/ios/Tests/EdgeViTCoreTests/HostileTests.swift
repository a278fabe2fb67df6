import EdgeViTCore
import Foundation
import XCTest

/// Bundles of strangers: each is refused with one line that says what is wrong, or its text is shown as text.
final class HostileTests: XCTestCase {
    private func refused(_ said: String, _ spoil: (MadeBundle) -> Void) {
        let made = MadeBundle()
        spoil(made)
        XCTAssertThrowsError(try made.opened().golden(), said) { error in
            let line = (error as? Refused)?.line ?? "no refusal: \(error)"
            XCTAssertTrue(line.contains(said), "'\(line)' should say '\(said)'")
            XCTAssertFalse(line.unicodeScalars.contains { $0.properties.generalCategory == .control }, line)
        }
    }

    private func refused(_ path: String, _ json: String, _ said: String) {
        refused(said) {
            $0.record()
            $0.put(path, json)
        }
    }

    func testTheGoodOneIsRead() throws {
        let bundle = try MadeBundle().opened()
        XCTAssertEqual(bundle.labels, ["cat", "dog", "horse"])
        let golden = try bundle.golden()
        XCTAssertEqual(golden.count, 2)
        XCTAssertEqual(golden[0].input[1], 1 / 96)
        XCTAssertEqual(golden[1].output, [-4, 5, -6])
        XCTAssertEqual(bundle.manifest.inputShape, [1, 3, 4, 4])
        XCTAssertEqual(try bundle.checkedModel(), "model.onnx")
    }

    func testBracketsInATextAreNoNesting() throws {
        let made = MadeBundle()
        made.put("labels.about", "\"\\\\ \\\"" + String(repeating: "[", count: 40) + "\"")
        XCTAssertEqual(try made.opened().labels.count, 3)
    }

    func testFreeAxesAreTheOnesOfThePreprocessing() throws {
        let made = MadeBundle()
        made.put("inputs.0.shape", "[\"batch\", 3, \"height\", \"width\"]")
        made.put("outputs.0.shape", "[\"batch\", 3]")
        XCTAssertEqual(try made.opened().manifest.size, Size(4, 4))
    }

    func testTheManifestItself() {
        refused("schema_version", "3", "schema_version 3, and")
        refused("schema_version", "\"2\"", "schema_version is not a finite number")
        refused("schema_version", "true", "schema_version is not a finite number")
        refused("schema_version", "null", "no schema_version")
        refused("target", "\"coreml\"", "the bundle is for coreml, and this app was built for onnx")
        refused("parity.diffs.1.tolerance.atol", "\"wide\"", "parity.diffs[1].tolerance.atol is not a finite number")
        refused("precision", "\"fp4\"", "precision is not one of fp32, fp16, bf16, int8, int8-dynamic, fp8, w8, palette8")
        for least in ["0", "-1", "1", "1e9"] {
            let decisions = "{\"pictures\": 10, \"agreeing\": 0, \"min_agreement\": \(least)}"
            refused("decisions", decisions, "decisions.min_agreement is not between 0 and 1")
        }
        let drawn = "{\"pictures\": 10, \"agreeing\": 0, \"min_agreement\": 0.98, \"sample\": {\"of\": 9}}"
        refused("decisions", drawn, "decisions.sample.of is not a whole number from 10")
        let tried = drawn.replacingOccurrences(of: "\"sample\"", with: "\"broken\": 3, \"sample\"")
        refused("decisions", tried, "decisions.sample.of is not a whole number from 13")
        refused("decisions", tried.replacingOccurrences(of: "3,", with: "-1,"), "decisions.broken is not a whole number from 0")
        refused("conversion.returns", "\"features\"", "conversion.returns is not one of logits, probabilities")
        refused("preprocess.mean", "[NaN, 0, 0]", "manifest.json is not JSON")
        let deep = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
        refused("decisions", deep, "manifest.json is nested too deeply")
        refused("preprocess.mean", "[1e999, 0, 0]", "manifest.json")
    }

    /// A bundle of which there is nothing but a manifest.
    private struct Alone: Files {
        let piece: Data
        let endless: Bool

        func open(_ path: String) throws -> (Int) throws -> Data {
            var rest = piece
            return { atMost in
                if endless { return Data(repeating: UInt8(ascii: "["), count: atMost) }
                defer { rest = Data(rest.dropFirst(atMost)) }
                return Data(rest.prefix(atMost))
            }
        }
    }

    func testWhatIsNoManifest() {
        for text in ["", "[", "[]", "2", "{\"schema_version\": 2", String(repeating: "[", count: 100_000), "\0"] {
            let files = Alone(piece: Data(text.utf8), endless: false)
            XCTAssertThrowsError(try CheckedBundle(files, target: "onnx"), text) { XCTAssertTrue($0 is Refused, "\($0)") }
        }
        let latin = Alone(piece: Data([0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x31, 0x7d]), endless: false)
        XCTAssertThrowsError(try CheckedBundle(latin, target: "onnx")) { XCTAssertTrue("\($0)".contains("not UTF-8")) }
        let endless = Alone(piece: Data(), endless: true)
        XCTAssertThrowsError(try CheckedBundle(endless, target: "onnx")) { XCTAssertTrue("\($0)".contains("larger than any")) }
    }

    func testPathsThatLeadOut() {
        let climbing = ["../model.onnx", "a/../../b", "a\\\\..\\\\b", ".", "a//b", "a/./b", "..", "a/.."]
        for path in climbing + ["/etc/passwd", "C:/model.onnx", "", "a\\u0000b"] {
            for place in ["path", "labels.path", "golden.input.path", "files.0.path"] {
                refused(place, "\"\(path)\"", "leads out of the bundle")
            }
        }
        refused("path", "\"other.onnx\"", "not among its files")
        refused("path", "\"model\"", "not among its files")
        refused("labels.path", "\"other.txt\"", "not among its files")
        refused("golden.outputs.0.path", "\"golden/other.f32\"", "not among its files")
    }

    func testFilesThatAreNotThoseRecorded() {
        func changed(_ said: String, _ change: @escaping (MadeBundle) -> Void) {
            refused(said) {
                $0.record()
                change($0)
            }
        }
        changed("labels.txt was changed") { $0.content["labels.txt"] = Array("cat\nDOG\nhorse\n".utf8) }
        changed("labels.txt has not the 14 bytes") { $0.content["labels.txt"] = Array("cat\n".utf8) }
        changed("labels.txt has not the 14 bytes") { $0.content["labels.txt"] = [UInt8](repeating: 0, count: 1 << 22) }
        changed("golden/output.f32 was changed") { $0.content["golden/output.f32"]?[3] = 9 }
        changed("cannot be read") { $0.content["golden/input.f32"] = nil }
        changed("recorded once") { $0.repeatFile() }
        refused("files.0.bytes", "-1", "files[0].bytes is not a whole number")
        refused("files.0.bytes", "1e300", "files[0].bytes is not a whole number")
        refused("files.0.sha256", "\"short\"", "files[0].sha256 is not a hash")
    }

    func testAModelThatWasChangedIsNotLoaded() throws {
        let made = MadeBundle()
        let bundle = try made.opened()
        made.content["model.onnx"] = [1, 2, 4]
        XCTAssertThrowsError(try bundle.checkedModel()) { XCTAssertTrue("\($0)".contains("model.onnx was changed")) }
    }

    func testShapesThatAreAbsurdOrDisagree() {
        refused("inputs.0.shape", "[1, 3, 8, 8]", "inputs[0].shape is not 1 x 3 x 4 x 4")
        refused("inputs.0.shape", "[4, 3, 4, 4]", "inputs[0].shape is not 1 x 3 x 4 x 4")
        refused("inputs.0.shape", "[1, \"colours\", 4, 4]", "inputs[0].shape is not 1 x 3 x 4 x 4")
        refused("inputs.0.shape", "[1, 3, 4, 1e18]", "is not a whole number")
        refused("inputs.0.dtype", "\"uint8\"", "inputs[0].dtype is not one of float32")
        refused("inputs", "[]", "inputs is not a list with one input")
        refused("outputs.0.shape", "[1, 1000001]", "outputs[0].shape[1] is not a whole number from 1 to 1000000")
        refused("outputs.0.shape", "[1, 4]", "labels.count is not 4")
        refused("preprocess.crop", "[8193, 8193]", "preprocess.crop[0] is not a whole number from 1 to 8192")
        refused("preprocess.crop", "[6, 6]", "preprocess.crop is not within the resized picture")
        refused("preprocess.std", "[0, 1, 1]", "preprocess.std is not above 0")
        refused("preprocess.fit", "\"letterbox\"", "preprocess.fit is not one of cover, stretch")
        refused("preprocess.fit", "\"pad\"", "preprocess.fit is not one of cover, stretch")
        refused("preprocess.color_order", "\"BGR\"", "preprocess.color_order is not one of RGB")
        refused("golden.input.shape", "[1, 3, 4, 4]", "golden.input.path is not a file of 192 bytes")
        refused("golden.input.shape", "[2, 3, 8, 8]", "golden.input.shape is not some examples of 3 x 4 x 4")
        refused("golden.outputs.0.name", "\"other\"", "golden is not of the output logits")
        refused("golden is not as many inputs as outputs") {
            $0.content["golden/output.f32"] = littleEndian([0, 0, 0])
            $0.put("golden.outputs.0.shape", "[1, 3]")
        }
        refused("holds numbers that are not finite") {
            $0.content["golden/output.f32"] = littleEndian([Float](repeating: .nan, count: 6))
        }
    }

    func testLabelsAreText() throws {
        let made = MadeBundle()
        let long = String(repeating: "x", count: 300)
        made.content["labels.txt"] = Array("<b onclick=\"x()\">cat</b>\n\u{1b}[31mdog\u{7}\u{202e}\r\n\(long)\n".utf8)
        let labels = try made.opened().labels
        XCTAssertEqual(labels[0], "<b onclick=\"x()\">cat</b>")
        XCTAssertEqual(labels[1], "[31mdog")
        XCTAssertEqual(labels[2].count, 203)
        refused("is not UTF-8 text") { $0.content["labels.txt"] = [255, 10, 254, 10, 253, 10] }
        refused("has 4 labels for 3 classes") { $0.content["labels.txt"] = Array("a\nb\nc\nd\n".utf8) }
    }

    func testAFolderGivesNothingOutsideOfIt() throws {
        let place = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: place) }
        let folder = place.appendingPathComponent("bundle")
        try MadeBundle().write(folder)
        XCTAssertEqual(try CheckedBundle(Folder(folder), target: "onnx").labels.count, 3)
        let (labels, secret) = (folder.appendingPathComponent("labels.txt"), place.appendingPathComponent("secret"))
        try FileManager.default.moveItem(at: labels, to: secret) // the same bytes, so that nothing but the link is wrong
        try FileManager.default.createSymbolicLink(at: labels, withDestinationURL: secret)
        XCTAssertThrowsError(try CheckedBundle(Folder(folder), target: "onnx")) {
            XCTAssertTrue("\($0)".contains("labels.txt of the bundle cannot be read"), "\($0)")
        }
    }
}
