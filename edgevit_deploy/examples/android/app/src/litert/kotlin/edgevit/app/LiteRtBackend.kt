package edgevit.app

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import edgevit.core.Backend
import edgevit.core.Manifest
import edgevit.core.Takes
import edgevit.core.refuse
import java.io.File

/** The target whose files this app loads. */
const val TARGET = "litert"

fun openBackend(model: File, manifest: Manifest): Backend = LiteRtBackend(model, manifest)

/** LiteRT on the CPU, where XNNPACK runs the whole graph; no bound covers what a GPU rounds. */
class LiteRtBackend(file: File, manifest: Manifest) : Backend {
    override val name = "LiteRT"

    // [snippet: load]
    private val model = CompiledModel.create(file.path, CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    override fun run(input: FloatArray): FloatArray {
        inputs[0].writeFloat(input)
        return run()
    }

    override fun run(input: ByteArray): FloatArray { // of a file made with --input uint8
        inputs[0].writeInt8(input) // the same bytes, whatever their sign is called
        return run()
    }

    private fun run(): FloatArray {
        model.run(inputs, outputs)
        return outputs[0].readFloat()
    }
    // [end]

    init { // LiteRT's Kotlin has no name for bytes without a sign, and copies what it is given: the size tells the type
        val wanted = manifest.inputShape.reduce(Long::times) * if (manifest.takes == Takes.UINT8) 1 else Float.SIZE_BYTES
        val found = model.getInputBufferRequirements(manifest.input).bufferSize
        if (found < wanted || found >= 2 * wanted) { // it may be rounded up
            close()
            refuse("the model's input has $found bytes, and the manifest says $wanted: its type is another; convert again")
        }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }
}
