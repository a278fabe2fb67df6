import Foundation

/// Where a bundle lies: a folder, or the memory of a test. Paths are those of the manifest, and were checked before.
public protocol Files {
    /// Opens a file: each call of the result gives at most so many bytes of it, and none at its end.
    func open(_ path: String) throws -> (_ atMost: Int) throws -> Data
}

/// A bundle in a folder.
public struct Folder: Files {
    public let root: URL

    public init(_ root: URL) {
        self.root = root
    }

    public func open(_ path: String) throws -> (Int) throws -> Data {
        let file = root.appendingPathComponent(path).resolvingSymlinksInPath() // a link could lead out
        var isFolder: ObjCBool = false
        guard file.path.hasPrefix(root.resolvingSymlinksInPath().path + "/"),
            FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder), !isFolder.boolValue
        else { throw CocoaError(.fileReadNoSuchFile) }
        let handle = try FileHandle(forReadingFrom: file)
        return { try handle.read(upToCount: $0) ?? Data() }
    }
}

/// One file of a bundle, as its manifest records it.
public struct Recorded {
    public let path: String
    public let sha256: String
    public let bytes: Int
}

private let piece = 1 << 20

extension Files {
    /// Reads a recorded file, and refuses it at the first byte too many, or when its hash is another one.
    func check(_ recorded: Recorded, each: (Data) -> Void = { _ in }) throws {
        let name = shown(recorded.path)
        var hash = Sha256()
        var count = 0
        do {
            let read = try open(recorded.path)
            while count <= recorded.bytes {
                let bytes = try read(piece)
                if bytes.isEmpty { break }
                count += bytes.count
                hash.update(bytes)
                each(bytes)
            }
        } catch {
            let reason = shown(String(describing: error))
            throw Refused("\(name) of the bundle cannot be read (\(reason)); copy the whole bundle again")
        }
        if count != recorded.bytes {
            throw Refused("\(name) has not the \(recorded.bytes) bytes of its record; copy the whole bundle again")
        }
        if hash.hexadecimal() != recorded.sha256 {
            throw Refused("\(name) was changed since the bundle was written (another sha256); copy it again or convert again")
        }
    }

    /// Reads a recorded file whole.
    func read(_ recorded: Recorded) throws -> Data {
        var all = Data()
        try check(recorded) { all.append($0) }
        return all
    }
}
