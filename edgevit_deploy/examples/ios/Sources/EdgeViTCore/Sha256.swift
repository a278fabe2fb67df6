import Foundation

#if canImport(CryptoKit)
import CryptoKit

/// SHA-256 of bytes that arrive in pieces.
struct Sha256 {
    private var hash = SHA256()

    mutating func update(_ bytes: Data) {
        hash.update(data: bytes)
    }

    /// Lower-case hexadecimal digits.
    func hexadecimal() -> String {
        hex(hash.finalize())
    }
}
#else
typealias Sha256 = PlainSha256
#endif

/// The SHA-256 of some bytes, in hexadecimal.
public func sha256(_ bytes: [UInt8]) -> String {
    var hash = Sha256()
    hash.update(Data(bytes))
    return hash.hexadecimal()
}

/// Lower-case hexadecimal digits.
public func hex(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}
