import Foundation

/// How a pixel between others is made of them.
public enum Filter: String {
    case bicubic, bilinear

    /// In pixels of the coarser picture.
    var reach: Double { self == .bicubic ? 2 : 1 }

    func weight(_ distance: Double) -> Double {
        let x = abs(distance)
        if self == .bilinear { return max(0, 1 - x) }
        if x < 1 { return ((cubic + 2) * x - (cubic + 3)) * x * x + 1 }
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * cubic : 0
    }
}

private let cubic = -0.5
private let fractionBits = 22

/// More pixels than this on the way are no photograph but a strip, or an absurd size.
public let wholePixels = 1 << 25

/// Resizes as Pillow 13 does, to the last bit: an antialiased filter in integers of 22 fractional bits, one side after the other.
///
/// Core Image, vImage and `CGContext` have other filters: their pixels are other ones, and so are a network's outputs.
/// Swift never fuses a multiplication and an addition by itself, so the coefficients are the same on every processor.
public func resize(_ picture: any Picture, to size: Size, by filter: Filter) throws -> Pixels {
    let onTheWay = max(max(size.height, picture.height) * size.width, size.height * max(size.width, picture.width))
    if onTheWay > wholePixels {
        throw Refused("a strip of \(picture.width) x \(picture.height) pixels; cut it, and open it again")
    }
    if heightFirst(picture, size) {
        return withWidth(withHeight(picture, size.height, filter), size.width, filter)
    }
    return withHeight(withWidth(picture, size.width, filter), size.height, filter)
}

/// Each pass rounds, so their order matters; Pillow begins with the height where more than twice as many rows as columns go.
private func heightFirst(_ picture: any Picture, _ size: Size) -> Bool {
    size.height < picture.height && picture.height - size.height > 2 * (picture.width - size.width)
}

private func withWidth(_ picture: any Picture, _ width: Int, _ filter: Filter) -> Pixels {
    var result = [UInt32](repeating: 0, count: picture.height * width)
    var row = [UInt32](repeating: 0, count: picture.width)
    let taps = width == picture.width ? nil : Taps(from: picture.width, to: width, filter)
    for y in 0..<picture.height {
        picture.row(y, into: &row)
        for x in 0..<width { result[y * width + x] = taps?.sum(x, row) ?? row[x] & 0xffffff }
    }
    return Pixels(width: width, height: picture.height, values: result)
}

private func withHeight(_ picture: any Picture, _ height: Int, _ filter: Filter) -> Pixels {
    if let pixels = picture as? Pixels, height == picture.height { return pixels }
    let width = picture.width
    var result = [UInt32](repeating: 0, count: height * width)
    var column = [UInt32](repeating: 0, count: picture.height)
    let taps = height == picture.height ? nil : Taps(from: picture.height, to: height, filter)
    for x in 0..<width {
        picture.column(x, into: &column)
        for y in 0..<height { result[y * width + x] = taps?.sum(y, column) ?? column[y] & 0xffffff }
    }
    return Pixels(width: width, height: height, values: result)
}

/// For each pixel of a resized line, which of the old ones it is made of, and their weights.
private final class Taps {
    private let most: Int
    private var starts: [Int] = []
    private var counts: [Int] = []
    private var weights: [Int]

    init(from: Int, to: Int, _ filter: Filter) {
        let scale = Double(from) / Double(to)
        let coarser = max(scale, 1)
        let reach = filter.reach * coarser
        most = Int(reach.rounded(.up)) * 2 + 1
        weights = [Int](repeating: 0, count: to * most)
        for place in 0..<to {
            let centre = (Double(place) + 0.5) * scale
            let start = max(0, Int(centre - reach + 0.5))
            let count = min(from, Int(centre + reach + 0.5)) - start
            var exact: [Double] = []
            var total = 0.0
            for tap in 0..<count {
                exact.append(filter.weight((Double(tap + start) - centre + 0.5) * (1 / coarser)))
                total += exact[tap]
            }
            for tap in 0..<count { weights[place * most + tap] = Self.fixed(total != 0 ? exact[tap] / total : exact[tap]) }
            starts.append(start)
            counts.append(count)
        }
    }

    /// Rounds half away from zero.
    private static func fixed(_ weight: Double) -> Int {
        Int(weight * Double(1 << fractionBits) + (weight < 0 ? -0.5 : 0.5))
    }

    /// A pixel of the resized line.
    func sum(_ place: Int, _ line: [UInt32]) -> UInt32 {
        var red = 1 << (fractionBits - 1)
        var green = red
        var blue = red
        let start = starts[place]
        let first = place * most
        for tap in 0..<counts[place] {
            let pixel = Int(line[start + tap])
            let weight = weights[first + tap]
            red += (pixel >> 16 & 255) * weight
            green += (pixel >> 8 & 255) * weight
            blue += (pixel & 255) * weight
        }
        return Self.byte(red) << 16 | Self.byte(green) << 8 | Self.byte(blue)
    }

    private static func byte(_ sum: Int) -> UInt32 {
        UInt32(min(max(sum >> fractionBits, 0), 255))
    }
}
