package android.net

class Uri(val content: ByteArray)
