package edgevit.app

import android.content.Context
import edgevit.core.Backend
import edgevit.core.Bundle
import edgevit.core.GoldenVerdict
import edgevit.core.Guess
import edgevit.core.Picture
import edgevit.core.banner
import edgevit.core.checked
import edgevit.core.guesses
import edgevit.core.replay
import edgevit.core.resizeAndCrop
import edgevit.core.tensor
import java.io.File

private const val RUNS = 20

/** What a picture is, and how long that took: the median of the last runs of the runtime alone, and the preprocessing. */
class Answer(val guesses: List<Guess>, val runMilliseconds: Double, val preparedMilliseconds: Double, val runs: Int)

/** The bundle of this app, loaded into its runtime. It is used by one thread. */
class Network private constructor(private val bundle: Bundle, private val backend: Backend) : AutoCloseable {
    private val latencies = ArrayDeque<Double>()

    val runtime get() = backend.name
    val size get() = bundle.manifest.size
    val precision get() = bundle.manifest.precision

    /** What was not proven of the bundle; null where nothing is to be said. */
    val banner: String? get() = banner(bundle.manifest)

    fun replayGolden(): GoldenVerdict = replay(bundle, backend)

    fun classify(picture: Picture): Answer {
        val manifest = bundle.manifest
        val (input, prepared) = timed {
            tensor(resizeAndCrop(picture, manifest.preprocess), manifest.preprocess, manifest.takes)
        }
        val (outputs, run) = timed { backend.checked(input, manifest) }
        latencies.addLast(run)
        if (latencies.size > RUNS) latencies.removeFirst()
        val guesses = guesses(outputs, bundle.labels, manifest.returnsProbabilities)
        return Answer(guesses, latencies.sorted()[latencies.size / 2], prepared, latencies.size)
    }

    override fun close() = backend.close()

    companion object {
        /** Checks the bundle in the assets, and copies the model to where a runtime finds it by its path. */
        fun open(context: Context): Network {
            val bundle = Bundle.open(Assets(context.assets), TARGET)
            return Network(bundle, openBackend(bundle.copyModel(File(context.filesDir, "model")), bundle.manifest))
        }
    }
}

private inline fun <T> timed(work: () -> T): Pair<T, Double> {
    val started = System.nanoTime()
    val result = work()
    return result to (System.nanoTime() - started) / 1e6
}
