import CoreAI
import EdgeViTCore
import Foundation

/// The target whose files this package loads.
public let target = "coreai"

public func openModel(_ file: URL, _ manifest: Manifest) throws -> any Model {
    guard #available(iOS 27, macOS 27, *) else {
        throw Refused("Core AI needs iOS 27 or macOS 27; put a bundle for Core ML into this app")
    }
    return try CoreAIModel(file, manifest)
}

/// Core AI. A float32 file is computed on the CPU: the GPU and the Neural Engine compute in half precision. Files of any other
/// precision may be computed anywhere, and the golden verdict says whether this device keeps their bound.
@available(iOS 27, macOS 27, *)
final class CoreAIModel: Model {
    let name: String
    private let function: InferenceFunction
    private let manifest: Manifest

    init(_ file: URL, _ manifest: Manifest) throws {
        let options: SpecializationOptions = manifest.precision == "fp32" ? .cpuOnly : .default
        name = manifest.precision == "fp32" ? "Core AI (CPU)" : "Core AI"
        guard let found = try waiting({ try await loadFunction(at: file, options) }) else {
            throw Refused("the model has no function `main`: it is another one; convert again")
        }
        function = found
        self.manifest = manifest
    }

    func run(_ input: [Float]) throws -> [Float] {
        let (function, name) = (function, manifest.output)
        let fed = [manifest.input: NDArray(scalars: input, shape: [1, 3, manifest.size.height, manifest.size.width])]
        guard let outputs = try waiting({ try await values(of: function, fed, named: name) }) else {
            throw Refused("the model has no output \(shown(name)): it is another one; convert again")
        }
        return outputs
    }
}

// [snippet: load]
/// Loads `model.aimodel` and specialises it for this device, which takes long the first time.
@available(iOS 27, macOS 27, *)
func loadFunction(at file: URL, _ options: SpecializationOptions) async throws -> InferenceFunction? {
    try await AIModel(contentsOf: file, options: options).loadFunction(named: "main")
}

/// A value for each class of one picture; `inputs` is `["input": NDArray(scalars: pixels, shape: [1, 3, height, width])]`.
@available(iOS 27, macOS 27, *)
func values(of function: InferenceFunction, _ inputs: [String: NDArray], named name: String) async throws -> [Float]? {
    var outputs = try await function.run(inputs: inputs)
    guard let logits = outputs.remove(name)?.ndArray else { return nil }
    return logits.view(as: Float.self).withUnsafePointer { first, shape, strides in
        (0..<shape[1]).map { first[$0 * strides[1]] } // the array may have gaps between its values
    }
}
// [end]

/// What was computed in another task; one task writes it, and the other reads it after the signal.
private final class Answer<Value>: @unchecked Sendable {
    var result: Result<Value, any Error>?
}

/// Waits for what Core AI does in tasks of its own; not for the main thread.
private func waiting<Value>(_ work: @escaping @Sendable () async throws -> Value) throws -> Value {
    let (answer, done) = (Answer<Value>(), DispatchSemaphore(value: 0))
    Task.detached {
        do { answer.result = .success(try await work()) } catch { answer.result = .failure(error) }
        done.signal()
    }
    done.wait()
    guard let result = answer.result else { throw Refused("Core AI gave no answer") }
    return try result.get()
}
