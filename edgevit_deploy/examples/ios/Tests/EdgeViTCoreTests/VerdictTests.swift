import EdgeViTCore
import Foundation
import XCTest

/// A runtime that is off by a little.
private final class Off: Model {
    let name = "off"
    private let bundle: CheckedBundle
    private let by: Float

    init(_ bundle: CheckedBundle, by: Float) {
        self.bundle = bundle
        self.by = by
    }

    func run(_ input: [Float]) throws -> [Float] {
        var output = try XCTUnwrap(bundle.golden().first { $0.input == input }).output
        output[1] += by
        return output
    }
}

private final class OfTwoClasses: Model {
    let name = "of two classes"

    func run(_ input: [Float]) -> [Float] { [0, 0] }
}

/// What the screen says of golden data, of what the bundle proved, and of a picture.
final class VerdictTests: XCTestCase {
    private func opened(_ changes: [String: String] = [:]) throws -> CheckedBundle {
        let made = MadeBundle()
        for (path, json) in changes { made.put(path, json) }
        return try made.opened()
    }

    private func line(_ changes: [String: String], by: Float) throws -> String {
        let bundle = try opened(changes)
        return try replay(bundle, on: Off(bundle, by: by)).line
    }

    func testTheBoundIsTheFirstAtTheModelsSize() throws {
        let bundle = try opened()
        let verdict = try replay(bundle, on: Off(bundle, by: 1.0 / 4096))
        XCTAssertEqual(verdict.bound, 0.0005 + 6.0 / Double(1 << 24))
        XCTAssertEqual(verdict.error, 1.0 / 4096)
        XCTAssertEqual(verdict.line, "passed: largest error 2.44e-04, bound 5.00e-04")
        XCTAssertEqual(try line([:], by: 1.0 / 1024), "FAILED: largest error 9.77e-04, bound 5.00e-04")
    }

    func testQuantisedFilesAreMeasuredByTheRootOfTheMeanSquare() throws {
        let rms = """
            {"output": "logits", "image_size": [4, 4], "max_abs": 9.0, "rms": 0.001,
             "tolerance": {"atol": 0.01, "measure": "rms"}}
            """
        let bundle = try opened(["parity.diffs.1": rms, "precision": "\"int8\""])
        let verdict = try replay(bundle, on: Off(bundle, by: 0.015625)) // one of three outputs, in both examples
        XCTAssertEqual(verdict.error, 0.015625 / 3.0.squareRoot(), accuracy: 1e-17)
        XCTAssertTrue(verdict.passed)
        XCTAssertTrue(verdict.line.hasPrefix("passed: root mean square error"))
        XCTAssertEqual(banner(bundle.manifest)?.hasPrefix("Decisions not judged"), true)
    }

    func testWhatIsNotFiniteFails() throws {
        for by in [Float.nan, .infinity] {
            let bundle = try opened()
            let off = Off(bundle, by: by)
            let verdict = try replay(bundle, on: off)
            XCTAssertFalse(verdict.passed)
            XCTAssertEqual(verdict.line, "FAILED: outputs that are not finite, or of another number")
            XCTAssertThrowsError(try off.checked(bundle.golden()[0].input, bundle.manifest))
        }
    }

    func testAModelOfOtherClassesFails() throws {
        let bundle = try opened()
        XCTAssertFalse(try replay(bundle, on: OfTwoClasses()).passed)
        XCTAssertThrowsError(try OfTwoClasses().checked([], bundle.manifest)) {
            XCTAssertTrue("\($0)".contains("2 values for 3 classes"))
        }
    }

    func testWithoutABoundNothingPasses() throws {
        let said = try line(["parity.diffs": "[]", "parity.status": "\"built, not run\""], by: 0)
        XCTAssertTrue(said.hasPrefix("FAILED") && said.contains("records no bound"), said)
    }

    private func passes(_ share: Float, _ changes: [String: String]) throws -> String {
        let bundle = try opened(changes)
        let expected = try bundle.golden().map { $0.output }
        var outputs = expected
        outputs[0][0] += share * 6
        return try verdict(bundle.manifest, expected, outputs).line
    }

    func testABundleGrantsItselfNoBound() throws {
        let wide = ["parity.diffs.1.tolerance.atol": "1e30"]
        let rms = """
            {"output": "logits", "image_size": [4, 4], "max_abs": 0.0001, "rms": 0.0001,
             "tolerance": {"atol": 1e30, "measure": "rms"}}
            """
        for (precision, allowed) in ["fp32": Float(1e-4), "fp16": 0.2, "bf16": 1] {
            for change in [wide, ["parity.diffs.1": rms]] {
                let changes = change.merging(["precision": "\"\(precision)\""]) { $1 }
                XCTAssertTrue(try passes(0.9 * allowed, changes).hasPrefix("passed"))
                XCTAssertTrue(try passes(1.1 * allowed, changes).hasPrefix("FAILED: largest error"))
            }
        }
        for precision in quantisedPrecisions { // one of six outputs is off; all of their root mean square is allowed
            let changes = wide.merging(["precision": "\"\(precision)\""]) { $1 }
            XCTAssertTrue(try passes(1.55, changes).hasPrefix("passed"))
            XCTAssertTrue(try passes(1.65, changes).hasPrefix("FAILED: root mean square error"))
        }
    }

    func testTheMeasureIsNotTheBundlesToChoose() throws {
        let rms = """
            {"output": "logits", "image_size": [4, 4], "max_abs": 0.0001, "rms": 0.0001,
             "tolerance": {"atol": 0.0001, "measure": "rms"}}
            """
        XCTAssertTrue(try passes(0.00002, ["parity.diffs.1": rms]).hasPrefix("FAILED: largest error 1.2"))
        let changes = ["parity.diffs.1.tolerance.atol": "0.0002", "precision": "\"int8\""]
        XCTAssertTrue(try passes(0.00007, changes).hasPrefix("passed"))
    }

    func testGoldenOutputsHaveASize() throws {
        let made = MadeBundle()
        made.content["golden/output.f32"] = littleEndian([Float](repeating: 2e6, count: 6))
        let bundle = try made.opened()
        let expected = try bundle.golden().map { $0.output }
        XCTAssertThrowsError(try verdict(bundle.manifest, expected, expected)) {
            XCTAssertTrue("\($0)".contains("no bound can grow with that"))
        }
    }

    func testTheBannerSaysWhatIsNotProven() throws {
        XCTAssertNil(banner(try opened().manifest))
        for status in ["built, not run", "failed"] {
            let said = banner(try opened(["parity.status": "\"\(status)\""]).manifest)
            XCTAssertEqual(said, "UNPROVEN: the bundle says of its file: \(status)")
        }
        let failed = "UNPROVEN: the bundle's own comparisons failed"
        XCTAssertEqual(banner(try opened(["parity.diffs.2.max_abs": "0.6"]).manifest), failed)
        XCTAssertEqual(banner(try opened(["parity.diffs": "[]"]).manifest), failed)
        for rms in ["0.011", "null"] { // reports of earlier versions have none
            let above = """
                {"output": "logits", "image_size": [4, 4], "max_abs": 0.0, "rms": \(rms),
                 "tolerance": {"atol": 0.01, "measure": "rms"}}
                """
            XCTAssertEqual(banner(try opened(["parity.diffs.2": above, "precision": "\"int8\""]).manifest), failed)
        }
    }

    private func judged(
        _ pictures: Int, _ agreeing: Int, of all: Int?, broken: Int? = nil, least: Double = 0.98
    ) throws -> String? {
        let sample = all.map { "{\"of\": \($0), \"seed\": 0, \"runtime\": \"an evaluation\"}" } ?? "null"
        let counts = "\"pictures\": \(pictures), \"agreeing\": \(agreeing)"
        let decisions = "{\(counts), \"min_agreement\": \(least), \"sample\": \(sample), "
            + "\"broken\": \(broken.map(String.init) ?? "null")}"
        return banner(try opened(["precision": "\"int8\"", "decisions": decisions]).manifest)
    }

    func testDecisionsAreJudgedByTheirInterval() throws {
        XCTAssertNil(try judged(2000, 1980, of: nil))
        XCTAssertNil(try judged(2000, 1980, of: 50_000))
        for (pictures, agreeing, all) in [(2000, 1970, nil), (12, 12, 12), (100, 80, 1000)] as [(Int, Int, Int?)] {
            let asked = "UNPROVEN: its first class is the network's on only \(agreeing) of \(pictures) pictures"
            XCTAssertEqual(try judged(pictures, agreeing, of: all), asked)
        }
        for agreeing in [12, 11] {
            let said = try XCTUnwrap(judged(12, agreeing, of: 1000))
            XCTAssertTrue(said.hasPrefix("Decisions judged on a sample: "), said)
        }
    }

    /// Pictures that could not be decoded are none that were left out: all that there are were tried.
    func testPicturesThatCannotBeDecodedWereTriedToo() throws {
        for (pictures, agreeing, broken) in [(100, 98, 3), (95, 95, 5), (12, 12, 1)] {
            let asked = "UNPROVEN: its first class is the network's on only \(agreeing) of \(pictures) pictures"
            XCTAssertEqual(try judged(pictures, agreeing, of: pictures + broken, broken: broken), asked)
            for fewer in [broken - 1, 0, nil] {
                let said = try XCTUnwrap(judged(pictures, agreeing, of: pictures + broken, broken: fewer))
                XCTAssertTrue(said.hasPrefix("Decisions judged on a sample: "), said)
            }
        }
    }

    /// Wilson's interval of 8 of 10, as published tables give it: 0.490 to 0.943.
    func testTheIntervalIsWilsons() throws {
        XCTAssertNil(try judged(10, 8, of: nil, least: 0.4895))
        XCTAssertNotNil(try judged(10, 8, of: nil, least: 0.4905))
        XCTAssertEqual(try judged(10, 8, of: 1000, least: 0.9425)?.hasPrefix("Decisions judged"), true)
        XCTAssertEqual(try judged(10, 8, of: 1000, least: 0.9435)?.hasPrefix("UNPROVEN"), true)
        XCTAssertEqual(try judged(0, 0, of: 1000)?.hasPrefix("Decisions judged"), true)
    }

    func testLogitsBecomeProbabilities() {
        let labels = ["a", "b", "c", "d", "e", "f"]
        let found = guesses([0, 1, 1, 3, -2, 0], labels, areProbabilities: false)
        XCTAssertEqual(found.map { $0.label }, ["d", "b", "c", "a", "f"])
        let sum = 2 + 2 * exp(1.0) + exp(3.0) + exp(-2.0)
        XCTAssertEqual(found[0].probability, exp(3.0) / sum, accuracy: 1e-15)
        XCTAssertEqual(guesses([0.25, 0.75], labels, areProbabilities: true)[1].probability, 0.25)
        XCTAssertEqual(guesses([1000, -1000], labels, areProbabilities: false)[0].probability, 1)
    }

    func testSchemaOneIsRead() throws {
        let made = MadeBundle()
        made.record()
        let golden = """
            {"input_path": "golden/input.f32", "input_shape": [2, 3, 4, 4],
             "output_path": "golden/output.f32", "output_shape": [2, 3]}
            """
        for (path, json) in [
            "schema_version": "1", "input_form": "\"image\"", "output_form": "\"probabilities\"", "conversion": "null",
            "golden": golden, "parity.diffs": "[{\"image_size\": [4, 4], \"max_abs\": 0.001, \"tolerance\": {\"atol\": 0.01}}]",
        ] { made.put(path, json) }
        let manifest = try made.opened().manifest
        XCTAssertTrue(manifest.takesImage)
        XCTAssertTrue(manifest.returnsProbabilities)
        let expected: [[Float]] = [[2000, 0, 0]]
        XCTAssertEqual(try verdict(manifest, expected, expected).bound, 0.01 + 2000.0 / Double(1 << 24))
    }
}
