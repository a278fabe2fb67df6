import edgevit.app.TARGET
import edgevit.app.openBackend
import edgevit.core.Bundle
import edgevit.core.Folder
import edgevit.core.checked
import edgevit.core.guesses
import edgevit.core.replay
import java.io.File

/** Loads a bundle as the app does, but from a folder, and says the golden verdict and the first class of the first golden input. */
fun main(arguments: Array<String>) {
    val (folder, copy) = arguments
    val bundle = Bundle.open(Folder(File(folder)), TARGET)
    openBackend(bundle.copyModel(File(copy)), bundle.manifest).use { backend ->
        println(replay(bundle, backend).line)
        val outputs = backend.checked(bundle.golden()[0].first, bundle.manifest)
        println(guesses(outputs, bundle.labels, bundle.manifest.returnsProbabilities)[0].label)
    }
}
