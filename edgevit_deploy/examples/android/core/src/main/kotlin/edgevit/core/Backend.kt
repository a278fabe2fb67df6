package edgevit.core

/** A runtime with a model in it. */
interface Backend : AutoCloseable {
    /** The runtime's name, for people. */
    val name: String

    /** Runs one input of `Manifest.inputShape`; returns a value for each class. */
    fun run(input: FloatArray): FloatArray
}

/** Runs one input; refuses outputs that are not finite, or of another number than the manifest says. */
fun Backend.checked(input: FloatArray, manifest: Manifest): FloatArray {
    val outputs = run(input)
    if (outputs.size != manifest.classes) {
        refuse("the model returns ${outputs.size} values for ${manifest.classes} classes: it is another one; convert again")
    }
    if (outputs.any { !it.isFinite() }) refuse("the model returns values that are not finite; replay the golden data")
    return outputs
}
