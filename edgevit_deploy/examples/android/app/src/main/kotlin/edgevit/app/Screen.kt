package edgevit.app

import android.Manifest
import android.content.pm.PackageManager
import android.graphics.Bitmap
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.activity.result.contract.ActivityResultContracts.RequestPermission
import androidx.compose.foundation.Image
import androidx.compose.foundation.background
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.aspectRatio
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.safeDrawingPadding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.asImageBitmap
import androidx.compose.ui.layout.ContentScale
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.dp
import edgevit.core.Guess
import java.util.Locale

/** The whole screen, from what is proven down to what can be asked. */
@Composable
fun Screen(model: AppModel) {
    var asked by rememberSaveable { mutableStateOf(false) }
    val permission = LocalContext.current.checkSelfPermission(Manifest.permission.CAMERA)
    val camera = asked && permission == PackageManager.PERMISSION_GRANTED // it may be gone when the app is back
    val without = stringResource(R.string.without_camera)
    Surface {
        Column(
            Modifier.safeDrawingPadding().verticalScroll(rememberScrollState()).padding(16.dp),
            verticalArrangement = Arrangement.spacedBy(12.dp),
        ) {
            Text(model.title.ifEmpty { stringResource(R.string.opening) }, style = MaterialTheme.typography.titleMedium)
            model.banner?.let { Warning(it) }
            model.problem?.let { Warning(it) }
            model.golden?.let { if (model.goldenPassed) Text(it) else Warning(it) }
            if (camera) {
                CameraPreview(model, Modifier.fillMaxWidth().aspectRatio(1f)) {
                    asked = false
                    model.say(without)
                }
            } else {
                model.preview?.let { Shown(it) }
            }
            model.answer?.let { Result(it) }
            Buttons(model, camera) { asked = it }
        }
    }
}

/** What must not be overlooked; the same colours mean an error in every theme. */
@Composable
private fun Warning(line: String) {
    Text(
        line,
        Modifier.fillMaxWidth().background(MaterialTheme.colorScheme.errorContainer).padding(12.dp),
        color = MaterialTheme.colorScheme.onErrorContainer,
    )
}

@Composable
private fun Shown(preview: Bitmap) {
    val picture = remember(preview) { preview.asImageBitmap() }
    val place = Modifier.fillMaxWidth().aspectRatio(1f)
    Image(picture, stringResource(R.string.shown_picture), place, contentScale = ContentScale.Fit)
}

@Composable
private fun Result(answer: Answer) {
    Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
        answer.guesses.forEach { Bar(it) }
        val latency = "%.1f ms in the runtime (median of %d), %.1f ms before it"
            .format(Locale.ROOT, answer.runMilliseconds, answer.runs, answer.preparedMilliseconds)
        Text(latency, style = MaterialTheme.typography.bodySmall)
    }
}

@Composable
private fun Bar(guess: Guess) {
    Column {
        Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Text(guess.label, Modifier.weight(1f), maxLines = 1, overflow = TextOverflow.Ellipsis)
            Text("%.1f %%".format(Locale.ROOT, 100 * guess.probability))
        }
        LinearProgressIndicator(progress = { guess.probability.toFloat() }, Modifier.fillMaxWidth())
    }
}

@Composable
private fun Buttons(model: AppModel, camera: Boolean, turnCamera: (Boolean) -> Unit) {
    val gallery = rememberLauncherForActivityResult(PickVisualMedia()) { uri -> uri?.let(model::choose) }
    val refused = stringResource(R.string.no_camera)
    val permission = rememberLauncherForActivityResult(RequestPermission()) { granted ->
        if (!granted) model.say(refused)
        turnCamera(granted)
    }
    Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
        Button(onClick = {
            turnCamera(false)
            gallery.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly))
        }) { Text(stringResource(R.string.picture)) }
        Button(onClick = { if (camera) turnCamera(false) else permission.launch(Manifest.permission.CAMERA) }) {
            Text(stringResource(if (camera) R.string.stop_camera else R.string.camera))
        }
    }
    OutlinedButton(onClick = model::replayGolden) { Text(stringResource(R.string.replay)) }
}
