@_exported import CoreVideo
@_exported import Foundation

// What the sample uses of Core ML, with the types that Apple's reference gives: for the compiler alone, nothing runs.

public enum MLComputeUnits {
    case cpuOnly, all
}

public class MLModelConfiguration: NSObject {
    public var computeUnits: MLComputeUnits = .all
}

public class MLModelDescription: NSObject {
    public var predictedProbabilitiesName: String? { nil }
    public var classLabels: [Any]? { nil }
}

public protocol MLFeatureProvider {
    func featureValue(for featureName: String) -> MLFeatureValue?
}

public class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}

    public func featureValue(for featureName: String) -> MLFeatureValue? { nil }
}

public class MLModel: NSObject {
    public class func compileModel(at modelURL: URL) throws -> URL { modelURL }

    public class func compileModel(at url: URL) async throws -> URL { url }

    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {}

    public var modelDescription: MLModelDescription { MLModelDescription() }

    public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { input }
}

public protocol MLShapedArrayScalar {}

extension Float: MLShapedArrayScalar {}

public struct MLShapedArray<Scalar: MLShapedArrayScalar> {
    public var scalars: [Scalar]

    public init<Scalars: Sequence>(scalars: Scalars, shape: [Int]) where Scalars.Element == Scalar {
        self.scalars = Array(scalars)
    }

    public init(converting multiArray: MLMultiArray) { scalars = [] }
}

public class MLMultiArray: NSObject {
    public convenience init<Scalar>(_ shapedArray: MLShapedArray<Scalar>) { self.init() }
}

public class MLFeatureValue: NSObject {
    public convenience init(multiArray value: MLMultiArray) { self.init() }

    public convenience init(pixelBuffer value: CVPixelBuffer) { self.init() }

    public var multiArrayValue: MLMultiArray? { nil }
    public var dictionaryValue: [AnyHashable: NSNumber] { [:] }
}
