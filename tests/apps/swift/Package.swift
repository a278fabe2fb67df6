// swift-tools-version: 5.9
import PackageDescription

// The sample's two back ends on Linux, over stand-ins of what they import, and a program that replays golden data. `App`, the
// project that was written, and `Headers`, those of ONNX Runtime's C API, are put here by the test.
let package = Package(
    name: "OnLinux",
    dependencies: [.package(path: "App")],
    targets: [
        .systemLibrary(name: "COnnxRuntime", path: "Headers"),
        .target(name: "OnnxRuntimeBindings", dependencies: ["COnnxRuntime"], path: "OnnxRuntimeBindings"),
        .target(
            name: "EdgeViTRuntime",
            dependencies: [.product(name: "EdgeViTCore", package: "App"), "OnnxRuntimeBindings"],
            path: "EdgeViTONNX"
        ),
        .executableTarget(
            name: "Replay",
            dependencies: [.product(name: "EdgeViTCore", package: "App"), "EdgeViTRuntime"],
            path: "Replay",
            linkerSettings: [.unsafeFlags(["-L", "Headers"])]
        ),
        .target(name: "CoreML", path: "CoreML"),
        .target(
            name: "EdgeViTCoreML",
            dependencies: [.product(name: "EdgeViTCore", package: "App"), "CoreML"],
            path: "EdgeViTCoreML"
        ),
    ]
)
