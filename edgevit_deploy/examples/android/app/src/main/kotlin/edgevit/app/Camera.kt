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
import androidx.lifecycle.compose.LocalLifecycleOwner

/** The camera's picture; each frame that the worker has time for goes to the network. */
@Composable
fun CameraPreview(model: AppModel, modifier: Modifier = Modifier) {
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
        model.startCamera()
        camera.bindToLifecycle(owner)
        onDispose {
            camera.clearImageAnalysisAnalyzer()
            camera.unbind()
            model.stopCamera()
        }
    }
    AndroidView({ PreviewView(it).apply { controller = camera } }, modifier)
}
