import EdgeViTCore
import EdgeViTRuntime
import Foundation

private let runs = 20

/// What a picture is, and how long that took: the median of the last runs of the runtime alone, and the preprocessing.
struct Answer {
    let guesses: [Guess]
    let runMilliseconds: Double
    let preparedMilliseconds: Double
    let runs: Int
}

/// The bundle of this app, loaded into its runtime. It is used by one thread.
final class Network {
    let bundle: CheckedBundle
    let model: any Model
    private var latencies: [Double] = []

    /// Checks the bundle in the app's resources, and loads it.
    init() throws {
        let folder = Folder(Bundle.main.bundleURL.appendingPathComponent("bundle"))
        bundle = try CheckedBundle(folder, target: target)
        let file = folder.root.appendingPathComponent(try bundle.checkedModel())
        model = try openModel(file, bundle.manifest)
    }

    func classify(_ picture: any Picture) throws -> Answer {
        let manifest = bundle.manifest
        let (input, prepared) = try timed {
            let pixels = try resizeAndCrop(picture, manifest.preprocess)
            return tensor(pixels, manifest.preprocess, takesImage: manifest.takesImage)
        }
        let (outputs, run) = try timed { try model.checked(input, manifest) }
        latencies = Array((latencies + [run]).suffix(runs))
        return Answer(
            guesses: guesses(outputs, bundle.labels, areProbabilities: manifest.returnsProbabilities),
            runMilliseconds: latencies.sorted()[latencies.count / 2],
            preparedMilliseconds: prepared,
            runs: latencies.count
        )
    }
}

private func timed<Result>(_ work: () throws -> Result) rethrows -> (Result, Double) {
    let started = DispatchTime.now().uptimeNanoseconds
    let result = try work()
    return (result, Double(DispatchTime.now().uptimeNanoseconds - started) / 1e6)
}
