/// What a bundle or a picture is refused for: one line that says what was found, what was expected and what to do.
public struct Refused: Error, CustomStringConvertible {
    public let line: String

    public init(_ line: String) {
        self.line = line
    }

    public var description: String { line }
}

private let longest = 200

/// Text of a stranger as one line that can be shown: what a screen would obey is dropped, and it is not endless.
///
/// `Text(verbatim:)` shows text as text, so markup needs no care; controls do, and marks that turn its direction. Scalars are
/// looked at, not characters: of those, "\r\n" is one.
public func shown(_ text: String) -> String {
    var kept = String.UnicodeScalarView()
    var count = 0
    for scalar in text.unicodeScalars where !obeyed(scalar) {
        if count == longest { return String(kept) + "..." }
        kept.append(scalar)
        count += 1
    }
    return String(kept)
}

private func obeyed(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: return true
    default: return false
    }
}
