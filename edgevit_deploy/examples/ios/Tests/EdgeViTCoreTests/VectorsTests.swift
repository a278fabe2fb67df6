import EdgeViTCore
import Foundation
import XCTest

/// Resizing, preprocessing, turning and ranking differ from Pillow and NumPy by nothing.
final class VectorsTests: XCTestCase {
    func testNothingDiffers() throws {
        for tally in try Vectors(Vectors.bytes()).all() {
            print(tally)
            XCTAssertGreaterThan(tally.tried, 0)
            XCTAssertEqual(tally.different, [], "\(tally)")
        }
    }

    func testADifferenceIsFound() throws {
        let text = String(decoding: try Vectors.bytes(), as: UTF8.self)
        let others = text.replacingOccurrences(of: "\"bicubic\"", with: "\"bilinear\"")
        XCTAssertGreaterThan(try Vectors(Data(others.utf8)).resized().different.count, 150)
    }

    /// The nearest pixel, which careless apps take, is not what Pillow makes.
    func testNearestPixelsDiffer() throws {
        let picture = Pixels(width: 4, height: 4, values: (0..<16).map { UInt32(0x10101 * $0 * 16) })
        let nearest = [0, 2, 8, 10].map { picture.values[$0] }
        XCTAssertNotEqual(nearest, try resize(picture, to: Size(2, 2), by: .bicubic).values)
    }

    func testWhatStandsAboveTheColoursIsIgnored() throws {
        let values = (0..<35).map { UInt32($0 * 0x03_0507 & 0xff_ffff) }
        let plain = Pixels(width: 7, height: 5, values: values)
        let opaque = Pixels(width: 7, height: 5, values: values.map { $0 | 0xff00_0000 })
        for size in [Size(5, 7), Size(3, 4), Size(5, 3)] {
            XCTAssertEqual(try resize(plain, to: size, by: .bicubic).bytes, try resize(opaque, to: size, by: .bicubic).bytes)
        }
    }

    func testAStripIsNotResized() throws {
        let strip = Pixels(width: 1, height: 200_000, values: [UInt32](repeating: 0, count: 200_000))
        for size in [Size(51_200_000, 256), Size(Int(Int32.max), 8192)] {
            XCTAssertThrowsError(try resize(strip, to: size, by: .bicubic)) { XCTAssertTrue("\($0)".contains("strip")) }
        }
    }

    /// The examples of FIPS 180-4, and one of a million bytes in pieces that fit no block.
    func testHashes() {
        let known = [
            "": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq":
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ]
        for (text, hash) in known {
            var plain = PlainSha256()
            plain.update(Data(text.utf8))
            XCTAssertEqual(plain.hexadecimal(), hash)
            XCTAssertEqual(sha256(Array(text.utf8)), hash)
        }
        var plain = PlainSha256()
        for _ in 0..<10_000 { plain.update(Data(repeating: UInt8(ascii: "a"), count: 100)) }
        XCTAssertEqual(plain.hexadecimal(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }
}
