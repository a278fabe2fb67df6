import CoreGraphics
import CoreVideo
import EdgeViTCore
import Foundation
import ImageIO

private let maxPixels = 1 << 26 // more than a phone takes; they lie in memory twice, in half a gigabyte

/// Decodes a picture, and turns it upright; refused where it is none.
///
/// Its colours are those that the file stores: it is drawn into a bitmap of its own colour space, so that no profile is applied,
/// and without scaling. `UIImage` would turn it by itself.
func decode(_ file: Data) throws -> any Picture {
    guard let source = CGImageSourceCreateWithData(file as CFData, nil),
        let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
        let width = properties[kCGImagePropertyPixelWidth] as? Int, let height = properties[kCGImagePropertyPixelHeight] as? Int
    else { throw Refused("the file cannot be read as a picture; choose a JPEG or PNG") }
    if width < 1 || height < 1 || width > maxPixels / height {
        throw Refused("the picture has more than \(maxPixels) pixels; make it smaller")
    }
    guard let image = CGImageSourceCreateImageAtIndex(source, 0, nil), let pixels = stored(image) else {
        throw Refused("the file cannot be read as a picture; choose a JPEG or PNG")
    }
    return upright(pixels, properties[kCGImagePropertyOrientation] as? Int ?? 1)
}

/// The pixels as they are stored, except that transparent ones are seen on black.
private func stored(_ image: CGImage) -> Pixels? {
    let space = image.colorSpace?.baseColorSpace ?? image.colorSpace // of a palette, that of its colours
    if space?.model == .monochrome { return grey(image, space) }
    let (width, height) = (image.width, image.height)
    let layout = CGImageAlphaInfo.noneSkipFirst.rawValue | CGBitmapInfo.byteOrder32Little.rawValue // 0xXXRRGGBB
    let own = space?.model == .rgb ? space : nil
    guard let colours = own ?? CGColorSpace(name: CGColorSpace.sRGB) else { return nil }
    var values = [UInt32](repeating: 0, count: width * height)
    let drawn = values.withUnsafeMutableBytes { bytes in
        draw(image, into: bytes.baseAddress, bytesPerRow: 4 * width, colours, layout)
    }
    return drawn ? Pixels(width: width, height: height, values: values) : nil
}

private func grey(_ image: CGImage, _ space: CGColorSpace?) -> Pixels? {
    guard let space else { return nil }
    var levels = [UInt8](repeating: 0, count: image.width * image.height)
    let drawn = levels.withUnsafeMutableBytes { bytes in
        draw(image, into: bytes.baseAddress, bytesPerRow: image.width, space, CGImageAlphaInfo.none.rawValue)
    }
    return drawn ? Pixels(width: image.width, height: image.height, values: levels.map { UInt32($0) * 0x010101 }) : nil
}

private func draw(
    _ image: CGImage, into memory: UnsafeMutableRawPointer?, bytesPerRow: Int, _ space: CGColorSpace, _ layout: UInt32
) -> Bool {
    guard
        let context = CGContext(
            data: memory, width: image.width, height: image.height, bitsPerComponent: 8, bytesPerRow: bytesPerRow,
            space: space, bitmapInfo: layout
        )
    else { return false }
    context.interpolationQuality = .none
    context.draw(image, in: CGRect(x: 0, y: 0, width: image.width, height: image.height))
    return true
}

/// A frame of the camera, which is upright already.
func pixels(of frame: CVPixelBuffer) -> Pixels? {
    guard CVPixelBufferGetPixelFormatType(frame) == kCVPixelFormatType_32BGRA,
        CVPixelBufferLockBaseAddress(frame, .readOnly) == kCVReturnSuccess
    else { return nil }
    defer { CVPixelBufferUnlockBaseAddress(frame, .readOnly) }
    guard let start = CVPixelBufferGetBaseAddress(frame) else { return nil }
    let (width, height) = (CVPixelBufferGetWidth(frame), CVPixelBufferGetHeight(frame))
    var values: [UInt32] = []
    values.reserveCapacity(width * height)
    for y in 0..<height {
        let row = start.advanced(by: y * CVPixelBufferGetBytesPerRow(frame)).assumingMemoryBound(to: UInt32.self)
        values.append(contentsOf: UnsafeBufferPointer(start: row, count: width))
    }
    return Pixels(width: width, height: height, values: values)
}
