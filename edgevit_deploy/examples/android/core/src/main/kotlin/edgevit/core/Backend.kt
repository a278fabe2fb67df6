package edgevit.core

/** What a model takes: normalised floats, or pixels that it normalises itself, as floats from 0 to 255 or as bytes. */
enum class Takes { TENSOR, IMAGE, UINT8 }

/** Three planes in the type that a model takes. */
sealed interface Planes {
    class Floats(val values: FloatArray) : Planes
    class Bytes(val values: ByteArray) : Planes
}

/** A runtime with a model in it. */
interface Backend : AutoCloseable {
    /** The runtime's name, for people. */
    val name: String

    /** Runs one input of `Manifest.inputShape`; returns a value for each class. */
    fun run(input: FloatArray): FloatArray

    /** The same for a model that takes bytes. */
    fun run(input: ByteArray): FloatArray = refuse("$name takes no bytes; convert again with --input image")
}

/** Runs one input in its type. */
fun Backend.run(input: Planes): FloatArray = when (input) {
    is Planes.Floats -> run(input.values)
    is Planes.Bytes -> run(input.values)
}

/** Runs one input; refuses outputs that are not finite, or of another number than the manifest says. */
fun Backend.checked(input: Planes, manifest: Manifest): FloatArray {
    val outputs = run(input)
    if (outputs.size != manifest.classes) {
        refuse("the model returns ${outputs.size} values for ${manifest.classes} classes: it is another one; convert again")
    }
    if (outputs.any { !it.isFinite() }) refuse("the model returns values that are not finite; replay the golden data")
    return outputs
}
