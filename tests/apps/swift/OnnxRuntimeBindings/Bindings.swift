import COnnxRuntime
import Foundation

// What the sample uses of ONNX Runtime's Objective-C binding, as Swift imports it (objectivec/include, 1.24.2), over the C API.

public enum ORTLoggingLevel {
    case warning
}

public enum ORTTensorElementDataType {
    case float
}

public final class ORTRunOptions {}

public final class ORTSessionOptions {}

private let api = OrtGetApiBase()!.pointee.GetApi(UInt32(ORT_API_VERSION))!.pointee

private func check(_ status: OpaquePointer?) throws {
    guard let status else { return }
    defer { api.ReleaseStatus(status) }
    let line = api.GetErrorMessage(status).map { String(cString: $0) }
    throw NSError(domain: "onnxruntime", code: 1, userInfo: [NSLocalizedDescriptionKey: line ?? "no reason given"])
}

/// What a call of the C API made.
private func made(_ make: (inout OpaquePointer?) -> OpaquePointer?) throws -> OpaquePointer {
    var pointer: OpaquePointer?
    try check(make(&pointer))
    guard let pointer else { throw NSError(domain: "onnxruntime", code: 2) }
    return pointer
}

public final class ORTEnv {
    fileprivate let pointer: OpaquePointer

    public init(loggingLevel: ORTLoggingLevel) throws {
        pointer = try made { api.CreateEnv(ORT_LOGGING_LEVEL_WARNING, "edgevit", &$0) }
    }

    deinit { api.ReleaseEnv(pointer) }
}

public final class ORTValue {
    fileprivate let pointer: OpaquePointer
    private let kept: NSMutableData?

    public init(tensorData: NSMutableData, elementType: ORTTensorElementDataType, shape: [NSNumber]) throws {
        kept = tensorData
        let memory = try made { api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &$0) }
        defer { api.ReleaseMemoryInfo(memory) }
        let sides = shape.map(\.int64Value)
        let (start, bytes) = (tensorData.mutableBytes, tensorData.length)
        let float = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
        pointer = try made { api.CreateTensorWithDataAsOrtValue(memory, start, bytes, sides, sides.count, float, &$0) }
    }

    fileprivate init(owning pointer: OpaquePointer) {
        self.pointer = pointer
        kept = nil
    }

    deinit { api.ReleaseValue(pointer) }

    /// The value's own bytes, and no copy: as the binding has it, they end with the value.
    public func tensorData() throws -> NSMutableData {
        let shape = try made { api.GetTensorTypeAndShape(pointer, &$0) }
        defer { api.ReleaseTensorTypeAndShapeInfo(shape) }
        var count = 0
        try check(api.GetTensorShapeElementCount(shape, &count))
        var start: UnsafeMutableRawPointer?
        try check(api.GetTensorMutableData(pointer, &start))
        guard let start else { throw NSError(domain: "onnxruntime", code: 2) }
        return NSMutableData(bytesNoCopy: start, length: 4 * count, freeWhenDone: false)
    }
}

public final class ORTSession {
    private let pointer: OpaquePointer

    public init(env: ORTEnv, modelPath: String, sessionOptions: ORTSessionOptions?) throws {
        let options = try made { api.CreateSessionOptions(&$0) }
        defer { api.ReleaseSessionOptions(options) }
        pointer = try made { api.CreateSession(env.pointer, modelPath, options, &$0) }
    }

    deinit { api.ReleaseSession(pointer) }

    public func inputNames() throws -> [String] {
        var count = 0
        try check(api.SessionGetInputCount(pointer, &count))
        return try (0..<count).map { place in try name { api.SessionGetInputName(pointer, place, $0, &$1) } }
    }

    public func outputNames() throws -> [String] {
        var count = 0
        try check(api.SessionGetOutputCount(pointer, &count))
        return try (0..<count).map { place in try name { api.SessionGetOutputName(pointer, place, $0, &$1) } }
    }

    public func run(
        withInputs inputs: [String: ORTValue], outputNames: Set<String>, runOptions: ORTRunOptions?
    ) throws -> [String: ORTValue] {
        var results: [String: ORTValue] = [:]
        for output in outputNames {
            let names = inputs.keys.map { strdup($0) }
            let asked = strdup(output)
            defer { (names + [asked]).forEach { free($0) } }
            let values: [OpaquePointer?] = inputs.keys.map { inputs[$0]?.pointer }
            let given: [UnsafePointer<CChar>?] = names.map { UnsafePointer($0) }
            let wanted: [UnsafePointer<CChar>?] = [UnsafePointer(asked)]
            let result = try made { api.Run(pointer, nil, given, values, values.count, wanted, 1, &$0) }
            results[output] = ORTValue(owning: result)
        }
        return results
    }

    private func name(
        _ get: (UnsafeMutablePointer<OrtAllocator>?, inout UnsafeMutablePointer<CChar>?) -> OpaquePointer?
    ) throws -> String {
        var allocator: UnsafeMutablePointer<OrtAllocator>?
        try check(api.GetAllocatorWithDefaultOptions(&allocator))
        var text: UnsafeMutablePointer<CChar>?
        try check(get(allocator, &text))
        guard let text else { throw NSError(domain: "onnxruntime", code: 2) }
        defer { _ = api.AllocatorFree(allocator, text) }
        return String(cString: text)
    }
}
