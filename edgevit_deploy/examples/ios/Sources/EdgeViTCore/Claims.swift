// What a manifest claims, checked before anything is read or allocated by it.

/// A path as the manifest has it, refused where it leads out of the bundle.
///
/// Its bytes are looked at, since "/" and an accent after it would be one character.
func inside(_ path: String) throws -> String {
    let bytes = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    let parts = bytes.map { String(decoding: $0, as: UTF8.self) }
    let strange = path.unicodeScalars.contains { $0 == "\\" || $0 == ":" || $0.properties.generalCategory == .control }
    if strange || parts.contains(where: { ["", ".", ".."].contains($0) }) {
        throw Refused("manifest.json: the path \(shown(path)) leads out of the bundle; do not use this bundle")
    }
    return path
}

/// The record of a file.
func recorded(_ path: String, _ files: [Recorded]) throws -> Recorded {
    let path = try inside(path)
    guard let record = files.first(where: { $0.path == path }) else { throw notRecorded(path) }
    return record
}

func checkModel(_ path: String, _ files: [Recorded]) throws {
    let path = try inside(path)
    if !files.contains(where: { $0.path == path || $0.path.hasPrefix("\(path)/") }) { throw notRecorded(path) }
}

private func notRecorded(_ path: String) -> Refused {
    Refused("manifest.json names \(shown(path)), which is not among its files; convert again")
}

/// A height and a width.
func sizeOf(_ json: Json) throws -> Size {
    let sides = try json.list().map { try $0.whole(1...maxSide) }
    if sides.count != 2 { throw json.wrong("a height and a width") }
    return Size(sides[0], sides[1])
}

/// An axis of a tensor is a number, or has a name: then it is free.
private func fits(_ axis: Json, _ value: Int) throws -> Bool {
    if axis.textOrNil != nil { return true }
    return try axis.whole(1...maxValues) == value
}

/// The input takes one picture of the size that the preprocessing makes.
func checkInput(_ input: Json, _ crop: Size) throws {
    let expected = [1, 3, crop.height, crop.width]
    let shape = try input["shape"].list()
    _ = try input["dtype"].oneOf(["float32"])
    let same = try shape.count == 4 && zip(shape, expected).allSatisfy { try fits($0, $1) } && shape[1].textOrNil == nil
    if !same {
        let text = expected.map(String.init).joined(separator: " x ")
        throw try input["shape"].wrong("\(text), which is what the preprocessing makes")
    }
}

/// The output has a value for each class, and there is a label for each.
func classesOf(_ output: Json, labels: Json) throws -> Int {
    let shape = try output["shape"].list()
    _ = try output["dtype"].oneOf(["float32"])
    guard try shape.count == 2 && fits(shape[0], 1) else { throw try output["shape"].wrong("one row of classes") }
    let classes = try shape[1].whole(1...maxClasses)
    if try labels["count"].whole(1...maxClasses) != classes {
        throw try labels["count"].wrong("\(classes), the number of classes of the output")
    }
    return classes
}

/// A `preprocess` record.
public func preprocessOf(_ json: Json) throws -> Preprocess {
    let (resize, crop) = (try sizeOf(json["resize"]), try sizeOf(json["crop"]))
    if resize.height < crop.height || resize.width < crop.width { throw try json["crop"].wrong("within the resized picture") }
    let range = try numbers(json["value_range"], 2)
    if range[0] >= range[1] { throw try json["value_range"].wrong("a range") }
    let std = try numbers(json["std"], 3)
    if std.contains(where: { $0 <= 0 }) { throw try json["std"].wrong("above 0") }
    _ = try json["color_order"].oneOf(["RGB"])
    let fit = try json["fit"]
    return Preprocess(
        resize: resize,
        crop: crop,
        stretch: try fit.isNull ? false : fit.oneOf(["cover", "stretch"]) == "stretch",
        filter: try json["interpolation"].oneOf(["bicubic", "bilinear"]) == "bicubic" ? .bicubic : .bilinear,
        mean: try numbers(json["mean"], 3),
        std: std,
        low: range[0],
        high: range[1]
    )
}

private func numbers(_ json: Json, _ count: Int) throws -> [Double] {
    let values = try json.list().map { try $0.number() }
    if values.count != count { throw json.wrong("\(count) numbers") }
    return values
}
