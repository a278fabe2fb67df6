@_exported import CoreVideo
@_exported import Dispatch
import UIKit

// What the app uses of AVFoundation and Core Media, with the types that Apple's reference gives: for the compiler alone.

public final class CMSampleBuffer {}

public typealias CVImageBuffer = CVBuffer

public func CMSampleBufferGetImageBuffer(_ sbuf: CMSampleBuffer) -> CVImageBuffer? { nil }

public struct AVMediaType {
    public static let video = AVMediaType()
}

public struct AVLayerVideoGravity {
    public static let resizeAspect = AVLayerVideoGravity()
}

public final class AVCaptureVideoPreviewLayer: CALayer {
    public var session: AVCaptureSession?
    public var videoGravity = AVLayerVideoGravity.resizeAspect
}

public class AVCaptureInput: NSObject {}

public final class AVCaptureDeviceInput: AVCaptureInput {
    public init(device: AVCaptureDevice) throws {}
}

public final class AVCaptureDevice: NSObject {
    public enum Position {
        case back
    }

    public struct DeviceType {
        public static let builtInWideAngleCamera = DeviceType()
    }

    public class func `default`(
        _ deviceType: DeviceType, for mediaType: AVMediaType?, position: Position
    ) -> AVCaptureDevice? { nil }

    public class func `default`(for mediaType: AVMediaType) -> AVCaptureDevice? { nil }

    public class func requestAccess(for mediaType: AVMediaType) async -> Bool { false }
}

public enum AVCaptureVideoOrientation {
    case portrait
}

public final class AVCaptureConnection: NSObject {
    public func isVideoRotationAngleSupported(_ videoRotationAngle: CGFloat) -> Bool { false }

    public var videoRotationAngle: CGFloat = 0
    public var isVideoOrientationSupported: Bool { false }
    public var videoOrientation = AVCaptureVideoOrientation.portrait
}

public class AVCaptureOutput: NSObject {
    public func connection(with mediaType: AVMediaType) -> AVCaptureConnection? { nil }
}

public protocol AVCaptureVideoDataOutputSampleBufferDelegate: NSObjectProtocol {
    func captureOutput(_ output: AVCaptureOutput, didOutput sampleBuffer: CMSampleBuffer, from connection: AVCaptureConnection)
}

public final class AVCaptureVideoDataOutput: AVCaptureOutput {
    public var videoSettings: [String: Any]!
    public var alwaysDiscardsLateVideoFrames = true

    public func setSampleBufferDelegate(
        _ sampleBufferDelegate: (any AVCaptureVideoDataOutputSampleBufferDelegate)?,
        queue sampleBufferCallbackQueue: DispatchQueue?
    ) {}
}

public final class AVCaptureSession: NSObject {
    public struct Preset {
        public static let vga640x480 = Preset()
    }

    public var sessionPreset = Preset.vga640x480

    public func beginConfiguration() {}

    public func commitConfiguration() {}

    public func startRunning() {}

    public func stopRunning() {}

    public func canAddInput(_ input: AVCaptureInput) -> Bool { false }

    public func addInput(_ input: AVCaptureInput) {}

    public func canAddOutput(_ output: AVCaptureOutput) -> Bool { false }

    public func addOutput(_ output: AVCaptureOutput) {}
}
