package edgevit.app

import android.app.Application
import android.graphics.Bitmap
import android.net.Uri
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.lifecycle.AndroidViewModel
import edgevit.core.Refused
import edgevit.core.orientationOf
import edgevit.core.shown
import edgevit.core.upright
import java.util.concurrent.Executors

/** What the screen shows, and what it can ask for. All work is done on one thread, since runtimes are not for several. */
class AppModel(application: Application) : AndroidViewModel(application) {
    /** Runs the network; the camera's frames arrive here too. */
    val worker = Executors.newSingleThreadExecutor()

    var title by mutableStateOf("")
        private set
    var banner by mutableStateOf<String?>(null)
        private set
    var golden by mutableStateOf<String?>(null)
        private set
    var goldenPassed by mutableStateOf(false)
        private set
    var problem by mutableStateOf<String?>(null)
        private set
    var preview by mutableStateOf<Bitmap?>(null)
        private set
    var answer by mutableStateOf<Answer?>(null)
        private set

    private var network: Network? = null

    @Volatile
    private var cameraIsOn = false

    init {
        replayGolden()
    }

    /** A replay that is refused is one that failed: it says so until another replay, whatever pictures are shown after it. */
    fun replayGolden() = worker.execute {
        goldenPassed = false
        golden = null
        problem = null
        val failure = failureOf {
            val verdict = opened().replayGolden()
            goldenPassed = verdict.passed
            golden = "Golden data ${verdict.line}"
        }
        if (failure != null) golden = "Golden data FAILED: $failure"
    }

    fun choose(uri: Uri) = worker.execute {
        problem = failureOf {
            val network = opened()
            val chosen = decode(getApplication(), uri)
            answer = null // of another picture
            preview = chosen.preview
            answer = chosen.use { network.classify(it.picture) }
        }
    }

    /** A frame of the camera, which must be turned clockwise to be upright; called on `worker`. */
    fun look(frame: Bitmap, degrees: Int) {
        if (!cameraIsOn) return
        problem = failureOf { answer = opened().classify(upright(BitmapPicture(frame), orientationOf(degrees))) }
        if (problem != null || !cameraIsOn) answer = null // of a frame before, or of a camera that was stopped in the meantime
    }

    fun startCamera() {
        clear()
        cameraIsOn = true
    }

    /** What the camera saw last is gone with its picture. */
    fun stopCamera() {
        cameraIsOn = false
        clear()
    }

    private fun clear() {
        preview = null
        answer = null
    }

    fun say(line: String) {
        problem = line
    }

    /** The network of this app; a bundle that was refused is refused each time again, and the line stays. */
    private fun opened(): Network = network ?: Network.open(getApplication()).also {
        network = it
        title = "${it.runtime}, ${it.precision}, ${it.size.width} x ${it.size.height}"
        banner = it.banner
    }

    /** Whatever fails becomes one line, null where nothing did: a runtime may throw anything at a file that it cannot load. */
    private fun failureOf(job: () -> Unit): String? = try {
        job()
        null
    } catch (refused: Refused) {
        refused.message
    } catch (error: Exception) {
        "stopped by ${shown(error.toString())}; replay the golden data, and convert again if they fail"
    } catch (error: LinkageError) { // a runtime's library that this processor has not
        "the runtime does not load on this device: ${shown(error.toString())}"
    } catch (_: OutOfMemoryError) {
        "there is not enough memory on this device; close other apps and try again"
    } catch (_: StackOverflowError) {
        "the bundle is nested too deeply for this device; convert again"
    }

    override fun onCleared() {
        worker.execute { network?.close() }
        worker.shutdown()
    }
}
