package androidx.camera.core

class CameraSelector private constructor() {
    companion object {
        val DEFAULT_BACK_CAMERA = CameraSelector()
        val DEFAULT_FRONT_CAMERA = CameraSelector()
    }
}
