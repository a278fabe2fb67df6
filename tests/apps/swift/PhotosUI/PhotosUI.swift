import SwiftUI

public struct PHPickerFilter {
    public static let images = PHPickerFilter()
}

public protocol Transferable {}

extension Data: Transferable {}

public struct PhotosPickerItem: Equatable, Hashable, Sendable {
    public enum EncodingDisambiguationPolicy {
        case automatic, current
    }

    public func loadTransferable<Loaded: Transferable>(type: Loaded.Type) async throws -> Loaded? { nil }
}

public struct PhotosPicker: Leaf {
    public init(
        _ titleKey: LocalizedStringKey, selection: Binding<PhotosPickerItem?>, matching filter: PHPickerFilter? = nil,
        preferredItemEncoding: PhotosPickerItem.EncodingDisambiguationPolicy = .automatic
    ) {}
}
