import EdgeViTCore
import EdgeViTRuntime
import Foundation

// Reads bundles as the app does, and replays golden data: TARGET BUNDLE... prints a line for each.
let target = CommandLine.arguments[1]
for place in CommandLine.arguments.dropFirst(2) {
    do {
        let folder = URL(fileURLWithPath: place)
        let bundle = try CheckedBundle(Folder(folder), target: target)
        let manifest = bundle.manifest
        let file = folder.appendingPathComponent(try bundle.checkedModel())
        let golden = try bundle.golden()
        let about = "\(manifest.precision) \(manifest.takesImage ? "image" : "tensor") \(golden.count) examples"
        if target == EdgeViTRuntime.target {
            let model = try openModel(file, manifest)
            let verdict = try replay(bundle, on: model)
            let outputs = try model.checked(golden[0].input, manifest)
            let first = guesses(outputs, bundle.labels, areProbabilities: manifest.returnsProbabilities)[0].label
            print("\(about), \(verdict.line), first: \(first), banner: \(banner(manifest) ?? "none")")
        } else {
            print("\(about), read, banner: \(banner(manifest) ?? "none")")
        }
    } catch let refused as Refused {
        print("refused: \(refused.line)")
    } catch {
        print("failed: \(error.localizedDescription)")
    }
}
