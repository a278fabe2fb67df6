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

    init {
        replayGolden()
    }

    fun replayGolden() = worker.execute {
        guarded {
            val verdict = it.replayGolden()
            goldenPassed = verdict.passed
            golden = "Golden data ${verdict.line}"
        }
    }

    fun choose(uri: Uri) = worker.execute {
        guarded {
            val chosen = decode(getApplication<Application>().contentResolver, uri)
            preview = chosen.preview
            answer = it.classify(chosen.picture)
        }
    }

    /** A frame of the camera, which must be turned clockwise to be upright; called on `worker`. */
    fun look(frame: Bitmap, degrees: Int) = guarded {
        answer = it.classify(upright(BitmapPicture(frame), orientationOf(degrees)))
    }

    fun startCamera() {
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

    /** Whatever fails becomes one line on the screen: a runtime may throw anything at a file that it cannot load. */
    private fun guarded(job: (Network) -> Unit) {
        try {
            job(opened())
            problem = null
        } catch (refused: Refused) {
            problem = refused.message
        } catch (error: Exception) {
            problem = "failed: ${shown(error.toString())}; replay the golden data, and convert again if they fail"
        } catch (error: LinkageError) { // a runtime's library that this processor has not
            problem = "the runtime does not load on this device: ${shown(error.toString())}"
        } catch (_: OutOfMemoryError) {
            problem = "the picture is too large for this device's memory; make it smaller"
        }
    }

    override fun onCleared() {
        worker.execute { network?.close() }
        worker.shutdown()
    }
}
