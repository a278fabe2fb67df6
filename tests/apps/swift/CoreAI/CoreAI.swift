@_exported import Foundation

// What the sample uses of Core AI, with the types that Apple's reference gives, but for `Span`, which is an array here: for the
// compiler alone, nothing runs.

public struct SpecializationOptions: Sendable {
    public static let cpuOnly = SpecializationOptions()
    public static let `default` = SpecializationOptions()
}

public struct AIModel: Sendable {
    public init(contentsOf url: URL, options: SpecializationOptions = .default) async throws {}

    public func loadFunction(named name: String) throws -> InferenceFunction? { nil }
}

public struct NDArray: Sendable {
    public init<Scalar>(scalars: some Sequence<Scalar>, shape: [Int]) {}

    public func view<T>(as type: T.Type = T.self) -> View<T> { View() }

    public struct View<Element> {
        public func withUnsafePointer<R>(_ body: (UnsafePointer<Element>, [Int], [Int]) throws -> R) rethrows -> R {
            fatalError("nothing runs")
        }
    }
}

public struct InferenceValue {
    public var ndArray: NDArray? { nil }
}

public struct InferenceFunction: Sendable {
    public struct MutableViews {
        public init() {}
    }

    public struct Outputs {
        public mutating func remove(_ name: String) -> InferenceValue? { nil }
    }

    public func run(
        inputs: [String: NDArray],
        states: consuming MutableViews = MutableViews(),
        outputViews: consuming MutableViews = MutableViews()
    ) async throws -> Outputs { Outputs() }
}
