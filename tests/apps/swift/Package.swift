// swift-tools-version: 5.9
import PackageDescription

// The sample's app and back ends on Linux, over stand-ins of what they import, and a program that replays golden data. The test
// puts the sample here as `App`, its sources as `EdgeViT...` and `Screens`, and into `Headers` those of ONNX Runtime's C API.
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
        .testTarget(
            name: "EdgeViTRuntimeTests",
            dependencies: [.product(name: "EdgeViTCore", package: "App"), "EdgeViTRuntime"],
            linkerSettings: [.unsafeFlags(["-L", "Headers"])]
        ),
        .target(name: "CoreGraphics", path: "CoreGraphics"),
        .target(name: "CoreVideo", dependencies: ["CoreGraphics"], path: "CoreVideo"),
        .target(name: "CoreML", dependencies: ["CoreVideo"], path: "CoreML"),
        .target(
            name: "EdgeViTCoreML",
            dependencies: [.product(name: "EdgeViTCore", package: "App"), "CoreML"],
            path: "EdgeViTCoreML"
        ),
        .target(name: "CoreAI", path: "CoreAI"),
        .target(
            name: "EdgeViTCoreAI",
            dependencies: [.product(name: "EdgeViTCore", package: "App"), "CoreAI"],
            path: "EdgeViTCoreAI"
        ),
        .target(name: "UIKit", dependencies: ["CoreGraphics"], path: "UIKit"),
        .target(name: "ImageIO", dependencies: ["CoreGraphics"], path: "ImageIO"),
        .target(name: "SwiftUI", dependencies: ["UIKit"], path: "SwiftUI"),
        .target(name: "PhotosUI", dependencies: ["SwiftUI"], path: "PhotosUI"),
        .target(name: "AVFoundation", dependencies: ["CoreVideo", "UIKit"], path: "AVFoundation"),
        .target(
            name: "Screens",
            dependencies: [
                .product(name: "EdgeViTCore", package: "App"), "EdgeViTRuntime", "AVFoundation", "ImageIO", "PhotosUI", "SwiftUI",
            ],
            path: "Screens"
        ),
    ]
)
