@_exported import CoreGraphics
@_exported import Foundation

open class CALayer: NSObject {}

@MainActor
open class UIView: NSObject {
    open class var layerClass: AnyClass { CALayer.self }

    public var layer: CALayer { CALayer() }
}

public final class UIImage: NSObject, Sendable {
    public init?(data: Data) {}
}

public enum UIAccessibility {
    public enum Notification {
        case announcement
    }

    @MainActor public static func post(notification: Notification, argument: Any?) {}
}
