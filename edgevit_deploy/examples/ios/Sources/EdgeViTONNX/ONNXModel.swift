import EdgeViTCore
import Foundation
import OnnxRuntimeBindings

/// The target whose files this package loads.
public let target = "onnx"

public func openModel(_ file: URL, _ manifest: Manifest) throws -> any Model {
    try ONNXModel(file, shape: manifest.inputShape)
}

/// ONNX Runtime on the CPU; no bound covers what its Core ML provider rounds.
final class ONNXModel: Model {
    let name = "ONNX Runtime"

    // [snippet: load]
    private let environment: ORTEnv // the session does not keep it
    private let session: ORTSession
    private let input: String
    private let output: String
    private let shape: [NSNumber]

    init(_ file: URL, shape: [Int]) throws {
        environment = try ORTEnv(loggingLevel: .warning)
        session = try ORTSession(env: environment, modelPath: file.path, sessionOptions: nil)
        input = try session.inputNames()[0]
        output = try session.outputNames()[0]
        self.shape = shape.map { NSNumber(value: $0) }
    }

    func run(_ pixels: [Float]) throws -> [Float] {
        let bytes = pixels.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress, length: $0.count) }
        let tensor = try ORTValue(tensorData: bytes, elementType: .float, shape: shape)
        let results = try session.run(withInputs: [input: tensor], outputNames: [output], runOptions: nil)
        guard let value = results[output] else { return [] }
        return try withExtendedLifetime(value) { // the bytes are its own
            (try value.tensorData() as Data).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        }
    }
    // [end]
}
