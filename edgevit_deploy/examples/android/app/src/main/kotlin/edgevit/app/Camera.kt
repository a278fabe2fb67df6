package edgevit.app

import androidx.camera.view.CameraController
import androidx.camera.view.LifecycleCameraController
import androidx.camera.view.PreviewView
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.remember
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.viewinterop.AndroidView
import androidx.core.content.ContextCompat
import androidx.lifecycle.compose.LocalLifecycleOwner

/** The camera's picture; each frame that the worker has time for goes to the network. `without` is called where there is none. */
@Composable
fun CameraPreview(model: AppModel, modifier: Modifier = Modifier, without: () -> Unit) {
    val context = LocalContext.current
    val owner = LocalLifecycleOwner.current
    val camera = remember {
        LifecycleCameraController(context).apply {
            setEnabledUseCases(CameraController.IMAGE_ANALYSIS)
            setImageAnalysisAnalyzer(model.worker) { frame ->
                frame.use { model.look(it.toBitmap(), it.imageInfo.rotationDegrees) }
            }
        }
    }
    DisposableEffect(owner) {
        var wanted = true
        model.startCamera()
        camera.bindAny(owner, ContextCompat.getMainExecutor(context), { wanted }, without)
        onDispose {
            wanted = false
            camera.clearImageAnalysisAnalyzer()
            camera.unbind()
            model.stopCamera()
        }
    }
    AndroidView({ PreviewView(it).apply { controller = camera } }, modifier)
}
