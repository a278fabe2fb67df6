package androidx.camera.view

import androidx.camera.core.CameraSelector
import androidx.lifecycle.LifecycleOwner
import com.google.common.util.concurrent.ListenableFuture

/** A device with some cameras; with null for them, CameraX could not be started. */
class LifecycleCameraController(private val cameras: List<CameraSelector>?, private val able: Boolean = true) {
    val initializationFuture = ListenableFuture<Void>()
    var cameraSelector = CameraSelector.DEFAULT_BACK_CAMERA
    var bound: CameraSelector? = null

    fun hasCamera(selector: CameraSelector) = selector in checkNotNull(cameras) { "Camera not initialized." }

    fun bindToLifecycle(@Suppress("unused") owner: LifecycleOwner) {
        require(able && cameraSelector in cameras!!) { "No available camera can be found." }
        bound = cameraSelector
    }
}
