import AVFoundation
import SwiftUI
import UIKit

/// The camera's picture; each frame that the worker has time for goes to the network.
struct CameraPreview: UIViewRepresentable {
    let model: AppModel

    func makeCoordinator() -> Camera {
        Camera(model)
    }

    func makeUIView(context: Context) -> CameraView {
        let view = CameraView()
        view.layerOfCamera.session = context.coordinator.session
        view.layerOfCamera.videoGravity = .resizeAspect
        context.coordinator.start()
        return view
    }

    func updateUIView(_ view: CameraView, context: Context) {}

    static func dismantleUIView(_ view: CameraView, coordinator: Camera) {
        coordinator.stop()
    }
}

/// A view whose layer is the camera's.
final class CameraView: UIView {
    override class var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }

    var layerOfCamera: AVCaptureVideoPreviewLayer {
        guard let camera = layer as? AVCaptureVideoPreviewLayer else { fatalError("the layer is of the class above") }
        return camera
    }
}

/// The session of the back camera, or of what there is. It is set up, started and stopped on a queue of its own, as all of that
/// blocks.
final class Camera: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate {
    let session = AVCaptureSession()
    private let model: AppModel
    private let queue = DispatchQueue(label: "edgevit.camera")
    private var stopped = false // of the worker

    init(_ model: AppModel) {
        self.model = model
    }

    func start() {
        queue.async {
            if self.connect() {
                self.session.startRunning()
            } else {
                let line = "the camera cannot be used now; close other apps, or choose a picture"
                DispatchQueue.main.async { self.model.say(line) }
            }
        }
    }

    /// What arrives afterwards is of no picture that the screen shows.
    func stop() {
        model.worker.async { self.stopped = true }
        queue.async { self.session.stopRunning() }
    }

    func captureOutput(_ output: AVCaptureOutput, didOutput buffer: CMSampleBuffer, from connection: AVCaptureConnection) {
        if stopped { return }
        guard let image = CMSampleBufferGetImageBuffer(buffer), let frame = pixels(of: image) else { return }
        model.look(frame)
    }

    private func connect() -> Bool {
        let back = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back)
        guard let device = back ?? AVCaptureDevice.default(for: .video), let input = try? AVCaptureDeviceInput(device: device)
        else { return false }
        let output = AVCaptureVideoDataOutput()
        output.videoSettings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
        output.alwaysDiscardsLateVideoFrames = true
        output.setSampleBufferDelegate(self, queue: model.worker)
        session.beginConfiguration()
        defer { session.commitConfiguration() }
        guard session.canAddInput(input), session.canAddOutput(output) else { return false }
        session.sessionPreset = .vga640x480
        session.addInput(input)
        session.addOutput(output)
        if let connection = output.connection(with: .video) { turnUpright(connection) }
        return true
    }

    /// The app is upright only, and the sensor lies on its side.
    private func turnUpright(_ connection: AVCaptureConnection) {
        if #available(iOS 17, *) {
            if connection.isVideoRotationAngleSupported(90) { connection.videoRotationAngle = 90 }
        } else if connection.isVideoOrientationSupported {
            connection.videoOrientation = .portrait
        }
    }
}
