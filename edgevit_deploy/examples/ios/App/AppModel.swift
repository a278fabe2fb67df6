import EdgeViTCore
import SwiftUI

/// What the screen shows, and what it can ask for. All work is done on one queue, since runtimes are not for several.
final class AppModel: ObservableObject {
    @Published private(set) var title = "Opening the bundle…"
    @Published private(set) var banner: String?
    @Published private(set) var golden: String?
    @Published private(set) var goldenPassed = false
    @Published private(set) var problem: String?
    @Published private(set) var preview: UIImage?
    @Published private(set) var answer: Answer?
    @Published private(set) var cameraIsOn = false

    /// Runs the network; the camera's frames arrive here too.
    let worker = DispatchQueue(label: "edgevit.worker", qos: .userInitiated)
    private var network: Network?

    init() {
        replayGolden()
    }

    /// A replay that is refused is one that failed: it says so until another replay, whatever pictures are shown after it.
    func replayGolden() {
        worker.async {
            self.show { ($0.goldenPassed, $0.golden, $0.problem) = (false, nil, nil) }
            do {
                let network = try self.opened()
                let verdict = try replay(network.bundle, on: network.model)
                self.show { ($0.goldenPassed, $0.golden) = (verdict.passed, "Golden data \(verdict.line)") }
            } catch {
                let line = self.line(of: error)
                self.show { $0.golden = "Golden data FAILED: \(line)" }
            }
        }
    }

    /// Classifies a picture of the gallery.
    func choose(_ file: Data) {
        worker.async {
            self.guarded { network in
                let photograph = try decode(file)
                self.show { ($0.preview, $0.answer) = (UIImage(data: file), nil) } // the answer was of another picture
                let answer = try network.classify(photograph)
                self.show { $0.answer = answer }
                self.announce(answer)
            }
        }
    }

    /// Classifies a frame of the camera; called on `worker`.
    func look(_ frame: any Picture) {
        var found: Answer?
        guarded { found = try $0.classify(frame) }
        let answer = found
        show { if $0.cameraIsOn { $0.answer = answer } } // none of a frame before, or of a camera that was stopped meanwhile
    }

    /// Forgets what was shown before the camera, or by it.
    func turnCamera(_ on: Bool) {
        if on != cameraIsOn { (preview, answer) = (nil, nil) }
        cameraIsOn = on
    }

    func say(_ line: String) {
        problem = line
    }

    /// The network of this app; a bundle that was refused is refused each time again, and the line stays.
    private func opened() throws -> Network {
        if let network { return network }
        let network = try Network()
        self.network = network
        let manifest = network.bundle.manifest
        show {
            $0.title = "\(network.model.name), \(manifest.precision), \(manifest.size.height) x \(manifest.size.width)"
            $0.banner = EdgeViTCore.banner(manifest)
        }
        return network
    }

    private func guarded(_ job: (Network) throws -> Void) {
        do {
            try job(try opened())
            show { $0.problem = nil }
        } catch {
            let line = self.line(of: error)
            show { $0.problem = line }
        }
    }

    /// Whatever fails becomes one line on the screen: a runtime may throw anything at a file that it cannot load.
    private func line(of error: any Error) -> String {
        if let refused = error as? Refused { return refused.line }
        return "stopped by \(shown(error.localizedDescription)); replay the golden data, and convert again if they fail"
    }

    /// The screen is of the main thread.
    private func show(_ change: @escaping (AppModel) -> Void) {
        DispatchQueue.main.async { change(self) }
    }

    /// VoiceOver says what a chosen picture is; for the camera that would never end.
    private func announce(_ answer: Answer) {
        guard let best = answer.guesses.first else { return }
        let line = "\(best.label), \(percent(best.probability))"
        DispatchQueue.main.async { UIAccessibility.post(notification: .announcement, argument: line) }
    }
}

func percent(_ share: Double) -> String {
    String(format: "%.1f %%", 100 * share)
}
