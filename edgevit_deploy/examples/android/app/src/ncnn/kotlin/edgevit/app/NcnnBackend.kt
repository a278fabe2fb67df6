package edgevit.app

import edgevit.core.Backend
import edgevit.core.Manifest
import edgevit.core.refuse
import java.io.File

/** The target whose files this app loads. */
const val TARGET = "ncnn"

fun openBackend(model: File, manifest: Manifest): Backend = NcnnBackend(model, manifest)

/** ncnn on the CPU, through `net.cpp`. */
class NcnnBackend(folder: File, private val manifest: Manifest) : Backend {
    override val name = "ncnn"
    private val net = load(File(folder, "model.param").path, File(folder, "model.bin").path, manifest.precision)

    init {
        if (net == 0L) refuse("ncnn could not load the model; convert again with the edgevit-deploy of this app")
    }

    override fun run(input: FloatArray): FloatArray =
        run(net, input, manifest.size.height, manifest.size.width) ?: refuse("ncnn could not run the model; convert again")

    override fun close() = unload(net)

    private external fun load(param: String, bin: String, precision: String): Long
    private external fun run(net: Long, input: FloatArray, height: Int, width: Int): FloatArray?
    private external fun unload(net: Long)

    private companion object {
        init {
            System.loadLibrary("edgevit_ncnn")
        }
    }
}
