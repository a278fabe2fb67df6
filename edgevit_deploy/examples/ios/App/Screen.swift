import AVFoundation
import EdgeViTCore
import PhotosUI
import SwiftUI

/// The whole screen, from what is proven down to what can be asked. Text of the bundle is shown as it is: `verbatim`.
struct Screen: View {
    @ObservedObject var model: AppModel
    @State private var chosen: PhotosPickerItem?

    var body: some View {
        ScrollView {
            VStack(alignment: .leading, spacing: 12) {
                Text(verbatim: model.title).font(.headline).accessibilityAddTraits(.isHeader)
                if let banner = model.banner { Warning(line: banner) }
                if let problem = model.problem { Warning(line: problem) }
                if let golden = model.golden {
                    if model.goldenPassed { Text(verbatim: golden) } else { Warning(line: golden) }
                }
                if model.cameraIsOn {
                    CameraPreview(model: model).aspectRatio(3 / 4, contentMode: .fit).accessibilityLabel("What the camera sees")
                } else if let preview = model.preview {
                    Image(uiImage: preview).resizable().scaledToFit().accessibilityLabel("The picture that was classified")
                }
                if let answer = model.answer { Answers(answer: answer) }
                buttons
            }
            .padding()
        }
        .onChange(of: chosen) { item in load(item) }
    }

    private var buttons: some View {
        VStack(alignment: .leading) {
            HStack {
                PhotosPicker("Picture", selection: $chosen, matching: .images, preferredItemEncoding: .current)
                    .buttonStyle(.borderedProminent)
                Button(model.cameraIsOn ? "Stop" : "Camera") {
                    if model.cameraIsOn { model.turnCamera(false) } else { askForCamera() }
                }
                .buttonStyle(.bordered)
            }
            Button("Replay golden data") { model.replayGolden() }.buttonStyle(.bordered)
        }
    }

    private func load(_ item: PhotosPickerItem?) {
        guard let item else { return }
        chosen = nil // so that the same picture can be chosen again
        model.turnCamera(false)
        Task { @MainActor in
            guard let file = try? await item.loadTransferable(type: Data.self) else {
                model.say("the picture cannot be read; choose another one")
                return
            }
            model.choose(file)
        }
    }

    private func askForCamera() {
        guard AVCaptureDevice.default(for: .video) != nil else {
            model.say("this device has no camera; choose a picture")
            return
        }
        Task { @MainActor in
            if await AVCaptureDevice.requestAccess(for: .video) {
                model.turnCamera(true)
            } else {
                model.say("the camera may not be used; allow it in the settings of this app, or choose a picture")
            }
        }
    }
}

/// What must not be overlooked.
private struct Warning: View {
    let line: String

    var body: some View {
        Label { Text(verbatim: line) } icon: { Image(systemName: "exclamationmark.triangle").accessibilityHidden(true) }
            .padding()
            .frame(maxWidth: .infinity, alignment: .leading)
            .background(.red.opacity(0.15), in: RoundedRectangle(cornerRadius: 8))
            .accessibilityElement(children: .ignore)
            .accessibilityLabel(Text(verbatim: "Warning: \(line)"))
    }
}

private struct Answers: View {
    let answer: Answer

    var body: some View {
        VStack(alignment: .leading, spacing: 8) {
            ForEach(answer.guesses) { Bar(guess: $0) }
            Text(verbatim: latency).font(.footnote)
        }
    }

    private var latency: String {
        String(
            format: "%.1f ms in the runtime (median of %d), %.1f ms before it",
            answer.runMilliseconds, answer.runs, answer.preparedMilliseconds
        )
    }
}

private struct Bar: View {
    let guess: Guess

    var body: some View {
        VStack(alignment: .leading) {
            HStack {
                Text(verbatim: guess.label).lineLimit(1)
                Spacer()
                Text(verbatim: percent(guess.probability)).monospacedDigit()
            }
            ProgressView(value: min(max(guess.probability, 0), 1))
        }
        .accessibilityElement(children: .ignore)
        .accessibilityLabel(Text(verbatim: guess.label))
        .accessibilityValue(Text(verbatim: percent(guess.probability)))
    }
}
