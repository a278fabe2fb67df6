package edgevit.app

import androidx.camera.core.CameraSelector
import androidx.camera.view.LifecycleCameraController
import androidx.lifecycle.LifecycleOwner
import java.util.concurrent.Executor

/**
 * Binds the camera that there is, the back one before the front one, once CameraX knows; calls `without` where there is none.
 *
 * CameraX itself takes the back one, and loses the error where there is none. What is no more `wanted` by then is not bound.
 */
fun LifecycleCameraController.bindAny(owner: LifecycleOwner, main: Executor, wanted: () -> Boolean, without: () -> Unit) {
    initializationFuture.addListener({
        if (wanted() && !bound(owner)) without()
    }, main)
}

private fun LifecycleCameraController.bound(owner: LifecycleOwner): Boolean = try {
    val all = listOf(CameraSelector.DEFAULT_BACK_CAMERA, CameraSelector.DEFAULT_FRONT_CAMERA)
    val found = all.firstOrNull { hasCamera(it) }
    if (found != null) {
        cameraSelector = found
        bindToLifecycle(owner)
    }
    found != null
} catch (_: IllegalStateException) { // CameraX could not be started
    false
} catch (_: IllegalArgumentException) { // the camera cannot do what is asked for
    false
}
