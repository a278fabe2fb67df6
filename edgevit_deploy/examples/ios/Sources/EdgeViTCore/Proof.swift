private let z95 = 1.959963984540054

/// What the bundle says was proven of its file, for the screen: nil where everything was, else a line that stays there.
public func banner(_ manifest: Manifest) -> String? {
    if !bornOut(manifest) { return "UNPROVEN: the bundle's own comparisons failed" }
    if manifest.status != "passed" { return "UNPROVEN: the bundle says of its file: \(manifest.status)" }
    guard let decisions = manifest.decisions else {
        if !manifest.quantised { return nil }
        return "Decisions not judged: the file computes what it should, and nobody counted how often it decides as its network"
    }
    if failed(decisions) {
        return "UNPROVEN: its first class is the network's on only \(decisions.agreeing) of \(decisions.pictures) pictures"
    }
    if !manifest.quantised || enough(decisions) { return nil }
    return "Decisions judged on a sample: the file computes what it should, and \(decisions.pictures) pictures are too few to "
        + "show or rule out that it decides as its network"
}

/// Whether the comparisons are what the status says of them.
private func bornOut(_ manifest: Manifest) -> Bool {
    manifest.diffs.allSatisfy { $0.error <= $0.atol } && (manifest.status != "passed" || !manifest.diffs.isEmpty)
}

/// Whether the whole interval of the agreement is above what was asked for.
private func enough(_ decisions: Decisions) -> Bool {
    interval(decisions).lowerBound >= decisions.minAgreement
}

/// Pictures that had to be drawn may be too few to show what was asked for; then they must not rule it out.
private func failed(_ decisions: Decisions) -> Bool {
    decisions.drawn ? interval(decisions).upperBound < decisions.minAgreement : !enough(decisions)
}

/// The 95 % interval of the agreement (Wilson's score interval); all there is where nothing was judged.
private func interval(_ decisions: Decisions) -> ClosedRange<Double> {
    if decisions.pictures == 0 { return 0...1 }
    let count = Double(decisions.pictures)
    let share = Double(decisions.agreeing) / count
    let spread = z95 * z95 / count
    let middle = (share + spread / 2) / (1 + spread)
    let half = (share * (1 - share) * spread + spread * spread / 4).squareRoot() / (1 + spread)
    let low = decisions.agreeing == 0 ? 0 : max(0, middle - half)
    return low...(decisions.agreeing == decisions.pictures ? 1 : min(1, middle + half))
}
