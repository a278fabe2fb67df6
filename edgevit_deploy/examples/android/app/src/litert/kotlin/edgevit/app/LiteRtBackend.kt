package edgevit.app

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import edgevit.core.Backend
import edgevit.core.Manifest
import java.io.File

/** The target whose files this app loads. */
const val TARGET = "litert"

fun openBackend(model: File, manifest: Manifest): Backend = LiteRtBackend(model)

/** LiteRT on the CPU, where XNNPACK runs the whole graph; no bound covers what a GPU rounds. */
class LiteRtBackend(file: File) : Backend {
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

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }
}
