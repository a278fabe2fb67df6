// swift-tools-version: 5.9
import Foundation
import PackageDescription

/// The target of the bundle in this folder: it decides which runtime `EdgeViTRuntime` is.
func targetOfBundle() -> String? {
    let file = URL(fileURLWithPath: Context.packageDirectory).appendingPathComponent("bundle/manifest.json")
    guard let bytes = try? Data(contentsOf: file) else { return nil }
    let manifest = (try? JSONSerialization.jsonObject(with: bytes)) as? [String: Any]
    return manifest?["target"] as? String
}

let package = Package(
    name: "EdgeViT",
    platforms: [.iOS(.v16), .macOS(.v14)],
    products: [.library(name: "EdgeViTCore", targets: ["EdgeViTCore"])],
    targets: [
        .target(name: "EdgeViTCore"),
        .testTarget(name: "EdgeViTCoreTests", dependencies: ["EdgeViTCore"]),
    ]
)

// Linux has none of the runtimes: there the package is `EdgeViTCore` and its tests, and needs no network.
#if os(macOS)
let sources = ["coreml": "EdgeViTCoreML", "coreai": "EdgeViTCoreAI", "onnx": "EdgeViTONNX"]
let source = sources[targetOfBundle() ?? ""] ?? "EdgeViTCoreML"
let onnx = source == "EdgeViTONNX"
let library = "onnxruntime-swift-package-manager"

if onnx {
    package.dependencies.append(.package(url: "https://github.com/microsoft/\(library)", exact: "1.24.2"))
}
package.products.append(.library(name: "EdgeViTRuntime", targets: ["EdgeViTRuntime"]))
package.targets += [
    .target(
        name: "EdgeViTRuntime",
        dependencies: onnx ? ["EdgeViTCore", .product(name: "onnxruntime", package: library)] : ["EdgeViTCore"],
        path: "Sources/\(source)"
    ),
    .testTarget(name: "EdgeViTRuntimeTests", dependencies: ["EdgeViTCore", "EdgeViTRuntime"]),
]
#endif
