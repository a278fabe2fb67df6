import CoreML
import EdgeViTCore
import Foundation

/// The target whose files this package loads.
public let target = "coreml"

public func openModel(_ file: URL, _ manifest: Manifest) throws -> any Model {
    try CoreMLModel(file, manifest)
}

/// Core ML. A float32 file is computed on the CPU: the GPU and the Neural Engine compute in half precision. Files of any other
/// precision may be computed anywhere, and the golden verdict says whether this device keeps their bound.
final class CoreMLModel: Model {
    let name: String
    private let model: MLModel
    private let manifest: Manifest

    init(_ file: URL, _ manifest: Manifest) throws {
        let units: MLComputeUnits = manifest.precision == "fp32" ? .cpuOnly : .all
        name = units == .cpuOnly ? "Core ML (CPU)" : "Core ML"
        model = try loadModel(at: file, on: units)
        self.manifest = manifest
    }

    func run(_ input: [Float]) throws -> [Float] {
        let (height, width) = (manifest.size.height, manifest.size.width)
        guard let fed = manifest.takesImage ? picture(input, height, width) : tensor(input, height, width) else {
            throw Refused("the model takes a picture, and these values are not bytes; convert again")
        }
        let results = try predict(model, [manifest.input: fed])
        if let name = model.modelDescription.predictedProbabilitiesName {
            return probabilities(results, named: name, of: labels(of: model))
        }
        guard let outputs = values(results, named: manifest.output) else {
            throw Refused("the model has no output \(shown(manifest.output)): it is another one; convert again")
        }
        return outputs
    }
}

// [snippet: load]
/// Compiles `model.mlpackage` for this device, and loads it; not for the main thread.
func loadModel(at file: URL, on units: MLComputeUnits) throws -> MLModel {
    let configuration = MLModelConfiguration()
    configuration.computeUnits = units
    let compiled = try MLModel.compileModel(at: file) // a temporary folder, which the system empties
    return try MLModel(contentsOf: compiled, configuration: configuration)
}

/// Three planes in the order R, G, B, normalised.
func tensor(_ pixels: [Float], _ height: Int, _ width: Int) -> MLFeatureValue {
    MLFeatureValue(multiArray: MLMultiArray(MLShapedArray<Float>(scalars: pixels, shape: [1, 3, height, width])))
}

func predict(_ model: MLModel, _ inputs: [String: MLFeatureValue]) throws -> any MLFeatureProvider {
    try model.prediction(from: MLDictionaryFeatureProvider(dictionary: inputs))
}

/// A value for each class; the multiarray itself may have gaps between its rows.
func values(_ results: any MLFeatureProvider, named name: String) -> [Float]? {
    results.featureValue(for: name)?.multiArrayValue.map { MLShapedArray<Float>(converting: $0).scalars }
}
// [end]

// [snippet: image]
/// Three planes of whole numbers from 0 to 255 as a picture of the model's size; nil where they are no bytes.
func picture(_ pixels: [Float], _ height: Int, _ width: Int) -> MLFeatureValue? {
    var created: CVPixelBuffer?
    CVPixelBufferCreate(nil, width, height, kCVPixelFormatType_32BGRA, nil, &created)
    guard let buffer = created, CVPixelBufferLockBaseAddress(buffer, []) == kCVReturnSuccess else { return nil }
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let start = CVPixelBufferGetBaseAddress(buffer) else { return nil }
    let plane = height * width
    for y in 0..<height {
        let row = start.advanced(by: y * CVPixelBufferGetBytesPerRow(buffer)).assumingMemoryBound(to: UInt8.self)
        for x in 0..<width {
            for channel in 0..<3 {
                guard let byte = UInt8(exactly: pixels[channel * plane + y * width + x]) else { return nil }
                row[4 * x + 2 - channel] = byte // B, G, R
            }
            row[4 * x + 3] = 255
        }
    }
    return MLFeatureValue(pixelBuffer: buffer)
}
// [end]

// [snippet: classifier]
/// The labels that are in the file, in the order of the classes.
func labels(of model: MLModel) -> [String] {
    model.modelDescription.classLabels as? [String] ?? []
}

/// A probability for each label; `name` is `model.modelDescription.predictedProbabilitiesName`, "classLabel_probs".
func probabilities(_ results: any MLFeatureProvider, named name: String, of labels: [String]) -> [Float] {
    let found = results.featureValue(for: name)?.dictionaryValue ?? [:]
    return labels.map { found[AnyHashable($0)]?.floatValue ?? .nan }
}
// [end]
