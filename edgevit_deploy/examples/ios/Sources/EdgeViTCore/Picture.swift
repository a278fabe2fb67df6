/// Height and width in pixels.
public struct Size: Equatable {
    public let height: Int
    public let width: Int

    public init(_ height: Int, _ width: Int) {
        self.height = height
        self.width = width
    }
}

/// A picture that is asked for its pixels a line at a time, so that a photograph lies in memory once.
///
/// A pixel is 0xRRGGBB; what stands above these 24 bits is ignored, so that the four bytes B, G, R, A of Apple's frameworks,
/// which are the number 0xAARRGGBB, can be given as they are.
public protocol Picture {
    var width: Int { get }
    var height: Int { get }

    /// Fills the first `width` entries with a row.
    func row(_ y: Int, into line: inout [UInt32])

    /// Fills the first `height` entries with a column.
    func column(_ x: Int, into line: inout [UInt32])
}

/// Pixels that are in memory, rows from the top.
public struct Pixels: Picture {
    public let width: Int
    public let height: Int
    public let values: [UInt32]

    public init(width: Int, height: Int, values: [UInt32]) {
        precondition(values.count == width * height)
        self.width = width
        self.height = height
        self.values = values
    }

    public func row(_ y: Int, into line: inout [UInt32]) {
        for x in 0..<width { line[x] = values[y * width + x] }
    }

    public func column(_ x: Int, into line: inout [UInt32]) {
        for y in 0..<height { line[y] = values[y * width + x] }
    }

    /// The bytes R, G, B of each pixel.
    public var bytes: [UInt8] {
        var bytes = [UInt8]()
        bytes.reserveCapacity(3 * values.count)
        for value in values {
            bytes.append(UInt8(truncatingIfNeeded: value >> 16))
            bytes.append(UInt8(truncatingIfNeeded: value >> 8))
            bytes.append(UInt8(truncatingIfNeeded: value))
        }
        return bytes
    }
}
