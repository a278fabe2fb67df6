import EdgeViTCore
import Foundation
import XCTest

/// How many cases of a kind were tried, and which of them differ from Pillow.
struct Tally: CustomStringConvertible {
    let kind: String
    let tried: Int
    let different: [Int]

    var description: String { "\(kind): \(tried) tried, \(different.count) different \(different.prefix(5))" }
}

/// What Pillow and NumPy make of pictures: `vectors.json`, which `convert.py app` puts beside the tests.
struct Vectors {
    private let document: Json

    init(_ bytes: Data) throws {
        document = try Json(bytes: bytes)
    }

    static func bytes() throws -> Data {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return try Data(contentsOf: tests.appendingPathComponent("vectors.json"))
    }

    func all() throws -> [Tally] {
        [try made(), try resized(), try preprocessed(), try turned(), try best()]
    }

    /// The pictures themselves: without this, all else would differ for the wrong reason.
    private func made() throws -> Tally {
        try tally("made", [document["made"]]) { try hex(Self.picture($0).bytes) == $0["pixels"].text() }
    }

    func resized() throws -> Tally {
        try tally("resized", document["resize"].list()) { json in
            let filter = try XCTUnwrap(Filter(rawValue: json["interpolation"].text()))
            let pixels = try resize(Self.picture(json), to: Self.size(json["resized"]), by: filter)
            return try sha256(pixels.bytes) == json["sha256"].text()
        }
    }

    private func preprocessed() throws -> Tally {
        try tally("preprocessed", document["pictures"].list()) { json in
            let preprocess = try preprocessOf(json["preprocess"])
            let pixels = try resizeAndCrop(Self.picture(json), preprocess)
            let values = tensor(pixels, preprocess, takesImage: false)
            let image = tensor(pixels, preprocess, takesImage: true)
            let hashes = [sha256(pixels.bytes), sha256(littleEndian(values)), sha256(littleEndian(image))]
            return try hashes == ["sha256", "tensor_sha256", "image_sha256"].map { try json[$0].text() }
        }
    }

    /// Row by row and column by column: either is what the other's is made of when a picture is turned.
    private func turned() throws -> Tally {
        try tally("upright", document["upright"].list()) { json in
            let picture = upright(try Self.picture(json), try json["orientation"].whole(0...9))
            let asked = try json["sha256"].text()
            let size = try Self.size(json["upright"])
            if size != Size(picture.height, picture.width) { return false }
            return [Self.rows(picture), Self.columns(picture)].allSatisfy { sha256($0.bytes) == asked }
        }
    }

    private func best() throws -> Tally {
        try tally("top", document["top"].list()) { json in
            let values = try json["values"].list().map { Float(try $0.number()) }
            return try top(values) == json["top"].list().map { try $0.whole(0...1000) }
        }
    }

    private func tally(_ kind: String, _ cases: [Json], _ same: (Json) throws -> Bool) rethrows -> Tally {
        Tally(kind: kind, tried: cases.count, different: try cases.indices.filter { try !same(cases[$0]) })
    }

    /// The picture of a seed; sides are not bounded here, since the file is our own.
    static func picture(_ json: Json) throws -> Pixels {
        let size = try Self.size(json["size"])
        let extremes = try json["kind"].text() == "extremes"
        var state = UInt32(try json["seed"].whole(0...1_000_000))
        var values = [UInt32](repeating: 0, count: size.height * size.width)
        for place in values.indices {
            for _ in 0..<3 {
                state = state &* 1_664_525 &+ 1_013_904_223
                values[place] = values[place] << 8 | (extremes ? 255 * (state >> 31) : state >> 24)
            }
        }
        return Pixels(width: size.width, height: size.height, values: values)
    }

    private static func size(_ json: Json) throws -> Size {
        let sides = try json.list().map { try $0.whole(1...1_000_000) }
        return Size(sides[0], sides[1])
    }

    private static func rows(_ picture: any Picture) -> Pixels {
        var row = [UInt32](repeating: 0, count: picture.width)
        var values: [UInt32] = []
        for y in 0..<picture.height {
            picture.row(y, into: &row)
            values += row
        }
        return Pixels(width: picture.width, height: picture.height, values: values)
    }

    private static func columns(_ picture: any Picture) -> Pixels {
        var column = [UInt32](repeating: 0, count: picture.height)
        var values = [UInt32](repeating: 0, count: picture.width * picture.height)
        for x in 0..<picture.width {
            picture.column(x, into: &column)
            for y in 0..<picture.height { values[y * picture.width + x] = column[y] }
        }
        return Pixels(width: picture.width, height: picture.height, values: values)
    }
}

/// Little-endian float32, as the hashes and the files are of.
func littleEndian(_ values: [Float]) -> [UInt8] {
    values.map(\.bitPattern.littleEndian).withUnsafeBytes { Array($0) }
}
