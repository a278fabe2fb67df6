import Foundation

/// Golden outputs are float64 rounded to float32: each may be off by this share of itself.
private let halfUlp = 1.0 / Double(1 << 24)

/// No output of a network that anyone serves is larger: half precision ends at 65504. The bound grows with the outputs.
private let largestGolden = 1e6

/// How the model reproduces its golden outputs on this device. `bound` is nil where the bundle records none.
public struct GoldenVerdict {
    public let error: Double
    public let bound: Double?
    let rms: Bool
    let examples: Int

    public var passed: Bool { bound.map { error <= $0 } ?? false }

    /// One line for people.
    public var line: String {
        guard let bound else { return "FAILED: the bundle records no bound for its golden data; convert it again where it runs" }
        if !error.isFinite { return "FAILED: outputs that are not finite, or of another number" }
        let measure = rms ? "root mean square" : "largest"
        return (passed ? "passed" : "FAILED") + ": \(measure) error " + String(format: "%.2e, bound %.2e", error, bound)
    }
}

/// Runs the golden inputs, and compares with the golden outputs in the measure of the file's precision.
public func replay(_ bundle: CheckedBundle, on model: any Model) throws -> GoldenVerdict {
    let golden = try bundle.golden()
    return try verdict(bundle.manifest, golden.map { $0.output }, golden.map { try model.run($0.input) })
}

/// Compares outputs with what they must be. The bound is that of the first comparison of this output at the model's size, but
/// never wider than this app's own rules allow. `Refused` where golden outputs are so large that they prove nothing.
public func verdict(_ manifest: Manifest, _ expected: [[Float]], _ outputs: [[Float]]) throws -> GoldenVerdict {
    let most = largest(expected)
    if most > largestGolden { throw Refused("the golden outputs are too large, and no bound can grow with that; convert again") }
    let given = manifest.diffs.first { $0.output == manifest.output && $0.size == manifest.modelSize }
    return GoldenVerdict(
        error: error(expected, outputs, rms: manifest.quantised),
        bound: given.map { min($0.atol, mostAllowed(manifest.precision, expected)) + halfUlp * most },
        rms: manifest.quantised,
        examples: expected.count
    )
}

private func error(_ expected: [[Float]], _ outputs: [[Float]], rms: Bool) -> Double {
    var most = 0.0
    var squares = 0.0
    var count = 0
    for (right, made) in zip(expected, outputs) {
        if made.count != right.count { return .infinity } // not the model that the manifest describes
        for (value, asked) in zip(made, right) {
            let difference = abs(Double(value) - Double(asked))
            if !difference.isFinite { return .infinity }
            most = max(most, difference)
            squares += difference * difference
            count += 1
        }
    }
    return rms ? (squares / Double(count)).squareRoot() : most
}
