import Foundation

// The rules of edgevit-deploy itself, for whatever it converts to. A bound is a multiple of rounding noise, and noise is believed
// up to a share of the outputs: of the largest one, or of a quantised file of their root mean square.

private let maxMultiple = 10.0
private let quantisedMultiple = 2.0
private let quantisedNoise = 0.5
private let floatingNoise = ["fp32": 1e-5, "fp16": 2e-2, "bf16": 1e-1]

/// Precisions with weights or activations of eight bits.
public let quantisedPrecisions = ["int8", "int8-dynamic", "fp8", "w8", "palette8"]

let precisions = ["fp32", "fp16", "bf16"] + quantisedPrecisions

/// The widest bound for these golden outputs: a bundle that grants itself a wider one does not get it.
func mostAllowed(_ precision: String, _ expected: [[Float]]) -> Double {
    guard let noise = floatingNoise[precision] else { return quantisedMultiple * quantisedNoise * rootMeanSquare(expected) }
    return maxMultiple * noise * largest(expected)
}

func largest(_ values: [[Float]]) -> Double {
    values.joined().reduce(0) { max($0, abs(Double($1))) }
}

private func rootMeanSquare(_ values: [[Float]]) -> Double {
    let squares = values.joined().reduce(0.0) { $0 + Double($1) * Double($1) }
    return (squares / Double(values.joined().count)).squareRoot()
}
