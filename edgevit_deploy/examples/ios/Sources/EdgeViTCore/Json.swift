import Foundation

/// Any JSON text.
enum JsonValue: Decodable {
    case null, flag, number(Double), text(String), list([JsonValue]), object([String: JsonValue])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if (try? value.decode(Bool.self)) != nil {
            self = .flag
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let list = try? value.decode([JsonValue].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: JsonValue].self))
        }
    }
}

private let deepest = 32

/// Whether more brackets stand in each other than in any manifest: the decoder calls itself for each, on a queue's small stack.
private func tooDeep(_ bytes: Data) -> Bool {
    var (depth, inText, escaped) = (0, false, false)
    for byte in bytes {
        let character = Unicode.Scalar(byte)
        if inText {
            inText = escaped || character != "\""
            escaped = !escaped && character == "\\"
        } else if character == "\"" {
            inText = true
        } else if character == "[" || character == "{" {
            depth += 1
            if depth > deepest { return true }
        } else if character == "]" || character == "}" {
            depth -= 1
        }
    }
    return false
}

/// A value of a manifest and where it stands, so that what is wrong with it can be said.
public struct Json {
    let value: JsonValue
    private let place: String

    init(_ value: JsonValue, at place: String = "") {
        self.value = value
        self.place = place
    }

    /// Reads the bytes of a manifest.
    public init(bytes: Data) throws {
        if String(data: bytes, encoding: .utf8) == nil { throw Refused("manifest.json is not UTF-8 text; convert again") }
        if tooDeep(bytes) { throw Refused("manifest.json is nested too deeply; convert again") }
        guard let document = try? JSONDecoder().decode(JsonValue.self, from: bytes) else {
            throw Refused("manifest.json is not JSON; copy the whole bundle again or convert again")
        }
        guard case .object = document else { throw Refused("manifest.json is not the manifest of a bundle; convert again") }
        self.init(document)
    }

    public var isNull: Bool {
        if case .null = value { return true }
        return false
    }

    public subscript(name: String) -> Json {
        get throws {
            guard case .object(let fields) = value else { throw wrong("an object") }
            return Json(fields[name] ?? .null, at: place.isEmpty ? name : "\(place).\(name)")
        }
    }

    public func list() throws -> [Json] {
        guard case .list(let values) = value else { throw wrong("a list") }
        return values.enumerated().map { Json($1, at: "\(place)[\($0)]") }
    }

    public func text() throws -> String {
        guard let text = textOrNil else { throw wrong("text") }
        return text
    }

    public var textOrNil: String? {
        if case .text(let text) = value { return text }
        return nil
    }

    /// A whole number between two others.
    public func whole(_ range: ClosedRange<Int>) throws -> Int {
        let found = try self.number()
        guard found == found.rounded(), found >= Double(range.lowerBound), found <= Double(range.upperBound) else {
            throw wrong("a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return Int(found)
    }

    public func number() throws -> Double {
        guard case .number(let number) = value, number.isFinite else { throw wrong("a finite number") }
        return number
    }

    public func oneOf(_ words: [String]) throws -> String {
        let found = try self.text()
        if !words.contains(found) { throw wrong("one of \(words.joined(separator: ", "))") }
        return found
    }

    /// What the manifest is refused with for this value.
    public func wrong(_ expected: String) -> Refused {
        Refused("manifest.json: \(place) is not \(expected); convert again")
    }
}
