import Foundation

/// A class and how probable it is.
public struct Guess: Identifiable {
    public let place: Int
    public let label: String
    public let probability: Double

    public var id: Int { place }
}

/// The places of the largest values, largest first; of equal ones the first.
public func top(_ values: [Float], count: Int = 5) -> [Int] {
    Array(values.indices.sorted { (values[$1], $0) < (values[$0], $1) }.prefix(count))
}

/// What a network's outputs say, most probable first.
public func guesses(_ outputs: [Float], _ labels: [String], areProbabilities: Bool, count: Int = 5) -> [Guess] {
    let probabilities = areProbabilities ? outputs.map(Double.init) : softmax(outputs)
    return top(outputs, count: count).map { Guess(place: $0, label: labels[$0], probability: probabilities[$0]) }
}

private func softmax(_ logits: [Float]) -> [Double] {
    let largest = Double(logits.max() ?? 0)
    let powers = logits.map { exp(Double($0) - largest) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
}
