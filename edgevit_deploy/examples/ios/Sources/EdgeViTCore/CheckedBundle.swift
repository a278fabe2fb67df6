import Foundation

private let maxManifestBytes = 4 << 20
private let maxLabelsBytes = 1 << 26

/// A bundle of edgevit-deploy. Nothing that it says is believed before it is checked.
public struct CheckedBundle {
    private let files: any Files
    public let manifest: Manifest
    public let labels: [String]

    /// Reads a bundle; `Refused` where it is for another runtime, damaged, or says what no bundle says.
    public init(_ files: any Files, target: String) throws {
        self.files = files
        manifest = try Manifest.read(Json(bytes: manifestBytes(files)))
        if manifest.target != target {
            throw Refused(
                "the bundle is for \(shown(manifest.target)), and this app was built for \(target); "
                    + "write the app again: convert.py app ios BUNDLE"
            )
        }
        labels = try lines(of: files, manifest)
    }

    /// Golden inputs, and what the network must make of each.
    public func golden() throws -> [(input: [Float], output: [Float])] {
        let (inputs, outputs) = (try floats(manifest.goldenInput), try floats(manifest.goldenOutput))
        return zip(inputs, outputs).map { (input: $0, output: $1) }
    }

    /// Checks the model's files, and returns where it is in the bundle: an app's own folder cannot be written to afterwards.
    public func checkedModel() throws -> String {
        for file in manifest.model { try files.check(file) }
        return manifest.path
    }

    private func floats(_ array: GoldenArray) throws -> [[Float]] {
        let values = try files.read(array.file).withUnsafeBytes { bytes in
            (0..<array.count * array.each).map { place in
                Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * place, as: UInt32.self)))
            }
        }
        if !values.allSatisfy(\.isFinite) {
            throw Refused("\(shown(array.file.path)) holds numbers that are not finite, which prove nothing; convert again")
        }
        return (0..<array.count).map { Array(values[$0 * array.each..<($0 + 1) * array.each]) }
    }
}

private func manifestBytes(_ files: any Files) throws -> Data {
    var bytes = Data()
    do {
        let read = try files.open("manifest.json")
        while bytes.count <= maxManifestBytes {
            let more = try read(maxManifestBytes + 1)
            if more.isEmpty { return bytes }
            bytes.append(more)
        }
    } catch {
        throw Refused("this app has no bundle (manifest.json cannot be read); write the app with convert.py app ios BUNDLE")
    }
    throw Refused("manifest.json is larger than any; convert again")
}

private func lines(of files: any Files, _ manifest: Manifest) throws -> [String] {
    let name = shown(manifest.labels.path)
    if manifest.labels.bytes > maxLabelsBytes { throw Refused("\(name) is larger than any list of labels; convert again") }
    var bytes = try files.read(manifest.labels)
    if String(data: bytes, encoding: .utf8) == nil { throw Refused("\(name) is not UTF-8 text; convert again") }
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    if lines.count != manifest.classes {
        throw Refused("\(name) has \(lines.count) labels for \(manifest.classes) classes; convert again")
    }
    return lines.map { shown(String(decoding: $0, as: UTF8.self)) }
}
