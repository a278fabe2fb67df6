import Foundation

let maxSide = 8192
let maxClasses = 1_000_000
let maxValues = 1 << 31
private let maxFileBytes = 1 << 34
private let maxGolden = 64
private let maxPictures = 1 << 40
private let maxTried = 2 * maxPictures // with those that cannot be decoded

/// An array of the golden data: raw little-endian float32, `count` examples of `each` values.
struct GoldenArray {
    let name: String
    let file: Recorded
    let count: Int
    let each: Int
}

/// A comparison that the bundle records: the bound on an output's error, and how large it was, in the measure of the bound.
struct Diff {
    let output: String
    let size: Size
    let atol: Double
    let error: Double
}

/// How often a quantised file names the first class of its network; `drawn` where there are more pictures than were tried.
struct Decisions {
    let pictures: Int
    let agreeing: Int
    let minAgreement: Double
    let drawn: Bool
}

/// What a bundle says of itself, checked.
public struct Manifest {
    public let target: String
    public let precision: String
    let path: String
    let files: [Recorded]

    /// The name of the input, and of the output.
    public let input: String
    public let output: String
    public let classes: Int
    public let preprocess: Preprocess
    public let takesImage: Bool
    public let returnsProbabilities: Bool
    let labels: Recorded
    let goldenInput: GoldenArray
    let goldenOutput: GoldenArray
    let modelSize: Size
    let status: String
    let diffs: [Diff]
    let decisions: Decisions?

    /// The size of the pictures that the app gives the network; a free size is the one that the preprocessing crops to.
    public var size: Size { preprocess.crop }

    /// The shape of one input.
    public var inputShape: [Int] { [1, 3, size.height, size.width] }

    /// Whether weights or activations have eight bits.
    var quantised: Bool { quantisedPrecisions.contains(precision) }

    /// The files of the model: one, or all those in its folder.
    var model: [Recorded] { files.filter { $0.path == path || $0.path.hasPrefix("\(path)/") } }

    /// Reads a manifest, and refuses what no bundle says: see `Claims.swift`.
    static func read(_ document: Json) throws -> Manifest {
        let version = try document["schema_version"]
        if version.isNull {
            throw Refused("manifest.json is not the manifest of a bundle (no schema_version in it); convert again")
        }
        switch try version.number() {
        case 2: return try Manifest(document)
        case 1: return try Manifest(fromSchema1(document))
        case let other:
            throw Refused(
                "manifest.json has schema_version \(String(format: "%g", other)), and this app reads 1 and 2; "
                    + "write the app again with the edgevit-deploy that wrote the bundle"
            )
        }
    }

    private init(_ json: Json) throws {
        files = try recordedFiles(json["files"])
        let (inputs, outputs) = (try only(json["inputs"], "input"), try only(json["outputs"], "output"))
        let count = try classesOf(outputs, labels: json["labels"])
        preprocess = try preprocessOf(json["preprocess"])
        try checkInput(inputs, preprocess.crop)
        let golden = try json["golden"]
        let crop = preprocess.crop
        goldenInput = try goldenArray(golden["input"], files, [3, crop.height, crop.width])
        goldenOutput = try goldenArray(only(golden["outputs"], "output"), files, [count])
        if goldenInput.count != goldenOutput.count { throw golden.wrong("as many inputs as outputs") }
        input = try inputs["name"].text()
        output = try outputs["name"].text()
        if goldenOutput.name != output { throw golden.wrong("of the output \(shown(output))") }
        classes = count
        target = try json["target"].text()
        precision = try json["precision"].oneOf(precisions)
        path = try json["path"].text()
        try checkModel(path, files)
        takesImage = try json["conversion"]["takes"].oneOf(["tensor", "image"]) == "image"
        returnsProbabilities = try json["conversion"]["returns"].oneOf(["logits", "probabilities"]) == "probabilities"
        labels = try recorded(json["labels"]["path"].text(), files)
        modelSize = try sizeOf(json["model"]["image_size"])
        status = try shown(json["parity"]["status"].text())
        diffs = try json["parity"]["diffs"].list().map(diffOf)
        let judged = try json["decisions"]
        decisions = try judged.isNull ? nil : decisionsOf(judged)
    }
}

private func recordedFiles(_ list: Json) throws -> [Recorded] {
    var paths: Set<String> = []
    return try list.list().map { file in
        let path = try inside(file["path"].text())
        let sha256 = try file["sha256"].text()
        let digits = sha256.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        if sha256.utf8.count != 64 || !digits { throw try file["sha256"].wrong("a hash") }
        let record = Recorded(path: path, sha256: sha256, bytes: try file["bytes"].whole(0...maxFileBytes))
        if !paths.insert(path).inserted { throw try file["path"].wrong("recorded once") }
        return record
    }
}

private func only(_ list: Json, _ what: String) throws -> Json {
    let values = try list.list()
    if values.count != 1 { throw list.wrong("a list with one \(what)") }
    return values[0]
}

private func goldenArray(_ array: Json, _ files: [Recorded], _ each: [Int]) throws -> GoldenArray {
    let shape = try array["shape"].list().map { try $0.whole(1...maxValues) }
    guard shape.count > 1, Array(shape.dropFirst()) == each else {
        throw try array["shape"].wrong("some examples of \(each.map(String.init).joined(separator: " x ")) values")
    }
    if shape[0] > maxGolden { throw try array["shape"].wrong("at most \(maxGolden) examples") }
    let values = each.reduce(1, *)
    if values > maxValues / 4 { throw try array["shape"].wrong("of a size that an app can hold") }
    let file = try recorded(array["path"].text(), files)
    let bytes = 4 * values * shape[0]
    if file.bytes != bytes { throw try array["path"].wrong("a file of \(bytes) bytes, as its shape says") }
    return GoldenArray(name: try array["name"].text(), file: file, count: shape[0], each: values)
}

private func diffOf(_ diff: Json) throws -> Diff {
    let tolerance = try diff["tolerance"]
    let measure = try tolerance["measure"]
    let rms = try measure.isNull ? false : measure.oneOf(["largest", "rms"]) == "rms"
    let error = try diff[rms ? "rms" : "max_abs"]
    return Diff(
        output: try diff["output"].text(),
        size: try sizeOf(diff["image_size"]),
        atol: try tolerance["atol"].number(),
        error: try error.isNull ? .greatestFiniteMagnitude : error.number()
    )
}

private func decisionsOf(_ decisions: Json) throws -> Decisions {
    let pictures = try decisions["pictures"].whole(0...maxPictures)
    let least = try decisions["min_agreement"].number()
    if least <= 0 || least >= 1 { throw try decisions["min_agreement"].wrong("between 0 and 1") }
    let (broken, sample) = (try decisions["broken"], try decisions["sample"])
    let tried = try pictures + (broken.isNull ? 0 : broken.whole(0...maxPictures)) // what cannot be decoded was tried too
    return Decisions(
        pictures: pictures,
        agreeing: try decisions["agreeing"].whole(0...pictures),
        minAgreement: least,
        drawn: try !sample.isNull && sample["of"].whole(tried...maxTried) > tried
    )
}
