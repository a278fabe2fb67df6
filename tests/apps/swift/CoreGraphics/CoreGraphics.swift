@_exported import Foundation

// What the app uses of Core Graphics, and Core Foundation's names, which are Foundation's classes on Linux.

public typealias CFData = NSData
public typealias CFDictionary = NSDictionary
public typealias CFString = NSString

public enum CGColorSpaceModel {
    case monochrome, rgb
}

public final class CGColorSpace {
    public init?(name: CFString) {}

    public static var sRGB: CFString { "sRGB" }
    public var model: CGColorSpaceModel { .rgb }
    public var baseColorSpace: CGColorSpace? { nil }
}

public enum CGImageAlphaInfo: UInt32 {
    case none, noneSkipFirst
}

public struct CGBitmapInfo: OptionSet {
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let byteOrder32Little = CGBitmapInfo(rawValue: 8192)
}

public enum CGInterpolationQuality {
    case none
}

public final class CGImage {
    public var width: Int { 0 }
    public var height: Int { 0 }
    public var colorSpace: CGColorSpace? { nil }
}

public final class CGContext {
    public var interpolationQuality = CGInterpolationQuality.none

    public init?(
        data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int, bytesPerRow: Int, space: CGColorSpace,
        bitmapInfo: UInt32
    ) {}

    public func draw(_ image: CGImage, in rect: CGRect, byTiling: Bool = false) {}
}
