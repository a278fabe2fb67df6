import EdgeViTCore
import EdgeViTRuntime
import Foundation
import XCTest

/// The bundle of this app, in its runtime, on this machine: the golden data are reproduced, and a changed input is noticed.
final class GoldenTests: XCTestCase {
    private func opened() throws -> (CheckedBundle, any Model) {
        let project = (0..<3).reduce(URL(fileURLWithPath: #filePath)) { place, _ in place.deletingLastPathComponent() }
        let folder = project.appendingPathComponent("bundle")
        let there = FileManager.default.fileExists(atPath: folder.path)
        try XCTSkipUnless(there, "no bundle in this folder; write the app with convert.py app ios BUNDLE")
        let bundle = try CheckedBundle(Folder(folder), target: target)
        return (bundle, try openModel(folder.appendingPathComponent(bundle.checkedModel()), bundle.manifest))
    }

    func testGoldenDataAreReproduced() throws {
        let (bundle, model) = try opened()
        let verdict = try replay(bundle, on: model)
        print("\(model.name): golden data \(verdict.line)")
        XCTAssertTrue(verdict.passed, verdict.line)
    }

    func testAnotherInputIsNotTheGoldenOne() throws {
        let (bundle, model) = try opened()
        let golden = try bundle.golden()
        let expected = golden.map { $0.output }
        let near = try verdict(bundle.manifest, expected, expected.reversed()).passed
        try XCTSkipIf(near, "the golden outputs of this bundle are within the bound of each other")
        let swapped = try golden.reversed().map { try model.checked($0.input, bundle.manifest) }
        XCTAssertFalse(try verdict(bundle.manifest, expected, swapped).passed)
    }
}
